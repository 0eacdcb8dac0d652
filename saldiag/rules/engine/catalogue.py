"""The rules as a list: what each is called, how grave, from what it judges, whether it is on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from saldiag.core.config import RuleSettings
from saldiag.core.findings.finding import Severity
from saldiag.core.findings.rule import Rule, Thresholds
from saldiag.rules.engine.engine import rules_with_limits
from saldiag.rules.engine.explain import explanation_of


@dataclass(frozen=True)
class Entry:
    """One rule; ``thresholds`` are those that hold, ``on`` says whether it judges."""

    code: str
    name: str
    family: str
    severity: Severity
    title: str
    requires: tuple[str, ...]
    thresholds: Thresholds
    explains: tuple[str, ...]
    on: bool

    def holds(self, word: str) -> bool:
        """Whether a word says something of this rule: ``sd2``, ``gradients``, ``softmax``."""
        texts = (self.code, self.name, self.family, self.severity, self.title)
        return any(word.lower() in text.lower() for text in texts)


def catalogue(settings: RuleSettings) -> tuple[Entry, ...]:
    """Every rule, by code, as these settings leave it.

    Raises:
        SaldiagError: the settings name what does not exist.
    """
    chosen = rules_with_limits(settings.select, settings.ignore)
    on = {rule for rule, _ in chosen}
    limited = rules_with_limits(limits=settings.thresholds)
    return tuple(_entry(rule, limits, rule in on) for rule, limits in limited)


def matching(entries: Sequence[Entry], words: Sequence[str]) -> tuple[Entry, ...]:
    """Those of which every word says something."""
    return tuple(entry for entry in entries if all(entry.holds(word) for word in words))


def family_of(rule: type[Rule]) -> str:
    """The folder that the rule's file is in."""
    return rule.__module__.rsplit(".", 2)[-2]


def _entry(rule: type[Rule], limits: Thresholds, on: bool) -> Entry:
    told = explanation_of(rule)
    return Entry(
        code=rule.code,
        name=rule.name,
        family=family_of(rule),
        severity=rule.severity,
        title=told.title,
        requires=told.requires,
        thresholds=dict(limits),
        explains=tuple(rule.explains),
        on=on,
    )
