"""The list of rules: name, severity, required measurements, thresholds, whether enabled."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from saldiag.core.config import RuleSettings
from saldiag.core.findings.finding import Severity
from saldiag.core.findings.rule import Rule, Thresholds
from saldiag.rules.engine.engine import rules_with_limits
from saldiag.rules.engine.explain import explanation_of
from saldiag.rules.engine.registry import family_of


@dataclass(frozen=True)
class Entry:
    """One rule under the given settings."""

    code: str
    """Such as ``SD101``."""
    name: str
    """Such as ``single-channel-softmax``."""
    family: str
    """Name of the rule's folder."""
    severity: Severity
    """Severity of its findings, unless a finding has its own."""
    title: str
    """First line of its documentation."""
    requires: tuple[str, ...]
    """Keys of the measurements that the rule needs."""
    thresholds: Thresholds
    """The thresholds in effect."""
    explains: tuple[str, ...]
    """Codes of the rules whose findings it can explain."""
    on: bool
    """Whether the rule is selected."""

    def holds(self, word: str) -> bool:
        """Whether the word occurs in this rule's code, name, family, severity or title."""
        texts = (self.code, self.name, self.family, self.severity, self.title)
        return any(word.lower() in text.lower() for text in texts)


def catalogue(settings: RuleSettings) -> tuple[Entry, ...]:
    """All rules under the given settings, sorted by code.

    Raises:
        SaldiagError: the settings name an unknown rule or threshold.
    """
    chosen = rules_with_limits(settings.select, settings.ignore)
    on = {rule for rule, _ in chosen}
    limited = rules_with_limits(limits=settings.thresholds)
    return tuple(_catalogue_entry(rule, limits, rule in on) for rule, limits in limited)


def matching(entries: Sequence[Entry], words: Sequence[str]) -> tuple[Entry, ...]:
    """The entries that contain every word."""
    return tuple(entry for entry in entries if all(entry.holds(word) for word in words))


def _catalogue_entry(rule: type[Rule], limits: Thresholds, on: bool) -> Entry:
    explanation = explanation_of(rule)
    return Entry(
        code=rule.code,
        name=rule.name,
        family=family_of(rule),
        severity=rule.severity,
        title=explanation.title,
        requires=explanation.requires,
        thresholds=dict(limits),
        explains=tuple(rule.explains),
        on=on,
    )
