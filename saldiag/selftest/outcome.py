"""Outcomes of programs, and their totals."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from saldiag.core.findings.finding import SEVERITIES
from saldiag.selftest.cases import Case

Outcome = Literal["first", "among", "missed", "clear", "info", "warning", "error", "failed"]
"""Of a broken program: whether its fault is the root cause (``first``), another finding (``among``)
or not found (``missed``). Of a program without a fault: the highest severity of its findings, or
``clear``. ``failed``: it could not be run."""

FIRST_GOAL, AMONG_GOAL, WARNING_GOAL = 0.95, 0.99, 0.05
"""Smallest shares of faults named first, and found at all; largest share of healthy programs with a
warning. No healthy program may have an error."""


@dataclass(frozen=True)
class Result:
    """The diagnosis of a case."""

    case: Case
    """The program."""
    expected: tuple[str, ...]
    """Codes of the rules that may name its fault."""
    root: str | None = None
    """Code of the root cause; None if there are no findings."""
    findings: tuple[tuple[str, str, str], ...] = ()
    """Code, severity and message of each finding."""
    verdict: str = ""
    """Verdict of the diagnosis, such as ``learns``."""
    seconds: float = 0.0
    """How long the case took."""
    failed: str | None = None
    """The error in one line if the program or a rule raised one; else None."""

    @property
    def outcome(self) -> Outcome:
        """The outcome in one word."""
        if self.failed is not None:
            return "failed"
        if self.case.variant != "broken":
            found = [severity for severity in SEVERITIES if severity in self._severities]
            return found[0] if found else "clear"
        if self.root in self.expected:
            return "first"
        return "among" if any(code in self.expected for code, _, _ in self.findings) else "missed"

    @property
    def _severities(self) -> set[str]:
        return {severity for _, severity, _ in self.findings}


@dataclass(frozen=True)
class Totals:
    """Numbers of programs by outcome."""

    faults: int = 0
    """Broken programs."""
    first: int = 0
    """Broken programs whose fault is the root cause."""
    among: int = 0
    """Broken programs whose fault is among the findings, including ``first``."""
    wells: int = 0
    """Healthy programs and fixed twins."""
    with_error: int = 0
    """Those of ``wells`` in which a rule reports an error."""
    with_warning: int = 0
    """Those of ``wells`` in which a rule reports a warning, and none an error."""
    failed: int = 0
    """Programs of both kinds that could not be run."""

    @property
    def goals(self) -> dict[str, bool]:
        """Each goal in words, and whether it is met."""
        shares = {
            f"named first {_as_percent(FIRST_GOAL)}": (self.first, FIRST_GOAL * self.faults),
            f"among the findings {_as_percent(AMONG_GOAL)}": (self.among, AMONG_GOAL * self.faults),
        }
        return {
            **{name: count >= minimum for name, (count, minimum) in shares.items()},
            "no error": not self.with_error,
            f"warnings {_as_percent(WARNING_GOAL)}": self.with_warning <= WARNING_GOAL * self.wells,
        }

    @property
    def meets_all_goals(self) -> bool:
        """Whether all goals are met, and every program could be run."""
        return not self.failed and all(self.goals.values())


def _as_percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def count_outcomes(outcomes: Iterable[tuple[bool, Outcome]]) -> Totals:
    """Totals of pairs: whether the program is broken, and its outcome."""
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
    """Totals of results."""
    return count_outcomes((result.case.variant == "broken", result.outcome) for result in results)
