"""What came of a program, and the sums over many."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from saldiag.core.findings.finding import SEVERITIES
from saldiag.selftest.cases import Case

Outcome = Literal["first", "among", "missed", "clear", "info", "warning", "error", "failed"]
"""Of a broken program: where its fault stands among the findings. Of one that nothing is wrong
with: the gravest finding. ``failed``: it could not be run."""

FIRST_GOAL, AMONG_GOAL, WARNING_GOAL = 0.95, 0.99, 0.05
"""Shares of faults named first and at all, and of well programs with a warning (none: an error)."""


@dataclass(frozen=True)
class Result:
    """What the rules said of a case; findings as (code, severity, message)."""

    case: Case
    expected: tuple[str, ...]
    root: str | None = None
    findings: tuple[tuple[str, str, str], ...] = ()
    verdict: str = ""
    seconds: float = 0.0
    failed: str | None = None

    @property
    def outcome(self) -> Outcome:
        """In one word."""
        if self.failed is not None:
            return "failed"
        if self.case.variant != "broken":
            grave = [severity for severity in SEVERITIES if severity in self._severities]
            return grave[0] if grave else "clear"
        if self.root in self.expected:
            return "first"
        return "among" if any(code in self.expected for code, _, _ in self.findings) else "missed"

    @property
    def _severities(self) -> set[str]:
        return {severity for _, severity, _ in self.findings}


@dataclass(frozen=True)
class Totals:
    """Counts; ``wells`` are healthy programs and repaired twins, notes on them are no alarms."""

    faults: int = 0
    first: int = 0
    among: int = 0
    wells: int = 0
    with_error: int = 0
    with_warning: int = 0
    failed: int = 0

    @property
    def goals(self) -> dict[str, bool]:
        """What saldiag promises, in words, and whether it holds."""
        shares = {
            f"named first {_as_percent(FIRST_GOAL)}": (self.first, FIRST_GOAL * self.faults),
            f"among the findings {_as_percent(AMONG_GOAL)}": (self.among, AMONG_GOAL * self.faults),
        }
        return {
            **{name: count >= wanted for name, (count, wanted) in shares.items()},
            "no error": not self.with_error,
            f"warnings {_as_percent(WARNING_GOAL)}": self.with_warning <= WARNING_GOAL * self.wells,
        }

    @property
    def meets_all_goals(self) -> bool:
        """Whether all of them hold, and every program could be run."""
        return not self.failed and all(self.goals.values())


def _as_percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def count_outcomes(outcomes: Iterable[tuple[bool, Outcome]]) -> Totals:
    """Add up pairs of *is it broken* and the outcome."""
    broken: list[Outcome] = []
    well: list[Outcome] = []
    for is_broken, outcome in outcomes:
        (broken if is_broken else well).append(outcome)
    first = broken.count("first")
    return Totals(
        faults=len(broken),
        first=first,
        among=first + broken.count("among"),
        wells=len(well),
        with_error=well.count("error"),
        with_warning=well.count("warning"),
        failed=broken.count("failed") + well.count("failed"),
    )


def count_results(results: Sequence[Result]) -> Totals:
    """Add up results."""
    return count_outcomes((result.case.variant == "broken", result.outcome) for result in results)
