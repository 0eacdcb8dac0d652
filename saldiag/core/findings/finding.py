"""What a rule returns: a finding, with its evidence and what to do next."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from saldiag.core.findings.edit import Edit
from saldiag.core.measurement import Source

Severity = Literal["error", "warning", "info"]

SEVERITIES: tuple[Severity, ...] = ("error", "warning", "info")
"""From the gravest to the lightest."""


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong: what, where, how much, and what next.

    ``message`` holds the measured value and the threshold; ``evidence`` holds the same as numbers
    (with a ``threshold`` wherever one was crossed). ``layers`` are layer paths. ``edits`` say the
    same as ``fix`` where it is certain; ``diff`` is what they are in the user's files, and
    ``by_hand`` says why there is none all the same.
    """

    rule: str
    name: str
    severity: Severity
    confidence: float = field(default=1.0, kw_only=True)
    layers: tuple[str, ...] = field(default=(), kw_only=True)
    message: str
    fix: str
    evidence: dict[str, Any] = field(default_factory=dict)
    source: Source | None = None
    explained_by: str | None = None
    confirmed_by: str | None = None
    edits: tuple[Edit, ...] = ()
    diff: str = ""
    by_hand: str = ""

    @property
    def to_mend(self) -> bool:
        """Whether ``saldiag fix`` mends it unasked: no remark, and no consequence of another."""
        return self.explained_by is None and self.severity != "info"


@dataclass(frozen=True)
class Skipped:
    """A rule that could not judge, and why. Never a pass."""

    rule: str
    reason: str


def at_least(severity: Severity, limit: Severity) -> bool:
    """Whether ``severity`` is as grave as ``limit`` or graver."""
    return SEVERITIES.index(severity) <= SEVERITIES.index(limit)
