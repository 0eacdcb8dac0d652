"""What a rule returns: a finding with its evidence and its fix."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from saldiag.core.field_types import MAY_BE_ABSENT, NonEmpty, Probability, RuleCode, RuleName
from saldiag.core.findings.edit import Edit
from saldiag.core.measurement import Source

Severity = Literal["error", "warning", "info"]

SEVERITIES: tuple[Severity, ...] = ("error", "warning", "info")
"""From the most to the least severe."""


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong: what, where, how much, and how to fix it.

    The fields are in the order of ``diagnosis.json``.
    """

    rule: RuleCode
    """Code of the rule."""
    name: RuleName
    """Name of the rule."""
    severity: Severity
    """``error``: the model cannot learn like this; ``warning``: it learns worse or for other
    reasons than it seems to; ``info``: a remark."""
    confidence: Probability = field(default=1.0, kw_only=True)
    """How certain the finding is, in [0, 1]."""
    layers: tuple[str, ...] = field(default=(), kw_only=True)
    """Paths of the layers it is about; empty if it is about none in particular."""
    message: NonEmpty
    """What is wrong, with the measured value and the threshold."""
    fix: str
    """What to change in the program: code, or a sentence in the imperative."""
    evidence: dict[str, Any] = field(default_factory=dict)
    """The numbers behind the message by name; ``threshold`` is the threshold that was crossed."""
    source: Source | None = None
    """Line of the user's code it is about; None if unknown."""
    explained_by: RuleCode | None = None
    """Code of the rule whose finding explains this one; None if no finding does."""
    confirmed_by: str | None = None
    """Name of the hypothesis that an experiment confirmed; None if there is none."""
    edits: tuple[Edit, ...] = field(default=(), metadata=MAY_BE_ABSENT)
    """The fix as changes of arguments, if it is certain; else empty."""
    diff: str = field(default="", metadata=MAY_BE_ABSENT)
    """The edits as a unified diff of the user's files; empty if there is none."""
    by_hand: str = field(default="", metadata=MAY_BE_ABSENT)
    """Why the edits have no diff; empty if they have one or there are no edits."""

    @property
    def to_mend(self) -> bool:
        """Whether ``saldiag fix`` fixes it by default: no remark, and not explained by another."""
        return self.explained_by is None and self.severity != "info"


@dataclass(frozen=True)
class Skipped:
    """A rule that could not judge, which is never a pass."""

    rule: RuleCode
    """Code of the rule."""
    reason: NonEmpty
    """Why it could not judge, in one line."""


def at_least(severity: Severity, limit: Severity) -> bool:
    """Whether ``severity`` is at least ``limit``."""
    return SEVERITIES.index(severity) <= SEVERITIES.index(limit)
