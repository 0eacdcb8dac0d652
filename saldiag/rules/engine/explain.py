"""What a rule checks and why, read from its docstring: the documentation has one source."""

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
    """The documentation of one rule; ``sections`` maps each heading to its markdown."""

    code: str
    name: str
    title: str
    severity: Severity
    requires: tuple[str, ...]
    thresholds: dict[str, float]
    explains: dict[str, str]
    sections: dict[str, str]


def to_text(rule: Explanation) -> str:
    """The whole as markdown, which reads as it stands."""
    needs = ", ".join(rule.requires) or "whatever of its inputs was measured"
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
        SaldiagError: there is no such rule; the message suggests the nearest.
    """
    return explanation_of(rule_by_name(code_or_name))


def explanation_of(rule: type[Rule]) -> Explanation:
    """Parse a rule's docstring."""
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
