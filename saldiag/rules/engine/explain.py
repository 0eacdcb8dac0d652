"""A rule's documentation, parsed from its docstring."""

from __future__ import annotations

import inspect
import re
from dataclasses import dataclass

from saldiag.core.findings.finding import Severity
from saldiag.core.findings.rule import Rule
from saldiag.rules.engine.registry import rule_by_name

HEADINGS = ("What it does", "Why is this bad", "Example", "Use instead", "Threshold")
_HEADING = re.compile(r"^## (.+)$", re.MULTILINE)


@dataclass(frozen=True)
class Explanation:
    """The documentation of one rule."""

    code: str
    """Such as ``SD101``."""
    name: str
    """Such as ``single-channel-softmax``."""
    title: str
    """First line of the docstring."""
    severity: Severity
    """Severity of its findings, unless a finding has its own."""
    requires: tuple[str, ...]
    """Keys of the measurements that the rule needs."""
    thresholds: dict[str, float]
    """The rule's own thresholds by name."""
    explains: dict[str, str]
    """Codes that it can explain, and where those findings must be located."""
    sections: dict[str, str]
    """Markdown by heading."""


def to_text(rule: Explanation) -> str:
    """The documentation as Markdown."""
    needs = ", ".join(rule.requires) or "any of its measurements"
    parts = [
        f"# {rule.code} {rule.name}",
        rule.title,
        f"Severity: {rule.severity}. Needs: {needs}.",
        *(f"## {heading}\n\n{text}" for heading, text in rule.sections.items()),
    ]
    if rule.explains:
        parts.append(f"## Explains\n\n{', '.join(rule.explains)}")
    return "\n\n".join(parts)


def explain(code_or_name: str) -> Explanation:
    """The documentation of the rule with that code or name.

    Raises:
        SaldiagError: there is no such rule; the message suggests the most similar name.
    """
    return explanation_of(rule_by_name(code_or_name))


def explanation_of(rule: type[Rule]) -> Explanation:
    """The documentation in a rule's docstring."""
    title, *rest = _HEADING.split(inspect.cleandoc(rule.__doc__ or ""))
    return Explanation(
        code=rule.code,
        name=rule.name,
        title=" ".join(title.split()),
        severity=rule.severity,
        requires=tuple(kind.key for kind in rule.requires),
        thresholds=dict(rule.thresholds),
        explains=dict(rule.explains),
        sections={head: text.strip() for head, text in zip(rest[::2], rest[1::2], strict=True)},
    )
