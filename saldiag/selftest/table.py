"""The results of the matrix as text for a terminal, and as Markdown for docs/selftest.md."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from saldiag.selftest.outcome import Outcome, Result, Totals

COLUMNS = ("programs", "first", "among", "missed")


@dataclass(frozen=True)
class Row:
    """A fault with the outcomes of all its programs."""

    group: str
    """Name of the fault's file."""
    expected: tuple[str, ...]
    """Codes of the rules that may name the fault."""
    outcomes: tuple[Outcome, ...]
    """One per broken program."""

    def counts(self) -> tuple[int, int, int, int]:
        """Numbers of all programs, and of those named first, found but not first, and missed."""
        first, among = self.outcomes.count("first"), self.outcomes.count("among")
        return len(self.outcomes), first, among, len(self.outcomes) - first - among


def group_rows(outcomes: Iterable[tuple[str, tuple[str, ...], Outcome]]) -> list[Row]:
    """One row per fault, from (file, expected codes, outcome) of the broken programs."""
    grouped: dict[tuple[str, tuple[str, ...]], list[Outcome]] = {}
    for group, expected, outcome in outcomes:
        grouped.setdefault((group, expected), []).append(outcome)
    found = [Row(group, expected, tuple(some)) for (group, expected), some in grouped.items()]
    return sorted(found, key=lambda row: (row.expected, row.group))


def fault_rows(results: Sequence[Result]) -> list[Row]:
    """The rows of the programs that were run."""
    broken = [result for result in results if result.case.variant == "broken"]
    return group_rows((r.case.group, r.expected, r.outcome) for r in broken)


def as_text(results: Sequence[Result], sums: Totals) -> str:
    """Each fault, each healthy program, the problems, and the totals."""
    totals = [totals_sentence(sums), goals_sentence(sums)]
    parts = [
        _fault_lines(fault_rows(results)),
        _healthy_lines(results),
        _problem_lines(results),
        totals,
    ]
    return "\n\n".join("\n".join(part) for part in parts if part)


def _fault_lines(faults: Sequence[Row]) -> list[str]:
    if not faults:
        return []
    width = max(len(row.group) for row in faults)
    head = f"{'fault':{width}}  {'rule':17}" + "".join(f"{name:>10}" for name in COLUMNS)
    return [head] + [
        f"{row.group:{width}}  {' '.join(row.expected)[:17]:17}"
        + "".join(f"{count:>10}" for count in row.counts())
        for row in faults
    ]


def _healthy_lines(results: Sequence[Result]) -> list[str]:
    healthy = [result for result in results if result.case.variant == "healthy"]
    if not healthy:
        return []
    width = max(len(_short_name(result)) for result in healthy)
    return [f"{'healthy program':{width}}  raised"] + [
        f"{_short_name(result):{width}}  {_raised_codes(result)}" for result in healthy
    ]


def _short_name(result: Result) -> str:
    return f"{result.case.group}/{result.case.form}"


def _raised_codes(result: Result) -> str:
    if result.failed:
        return "could not be run"
    return ", ".join(f"{code} ({severity})" for code, severity, _ in result.findings) or "nothing"


def _problem_lines(results: Sequence[Result]) -> list[str]:
    """One line for each program with an unexpected outcome."""
    return [line for result in results if (line := problem_line(result))]


def problem_line(result: Result) -> str | None:
    """A program's unexpected outcome in one line; None if the outcome is as it should be."""
    name, outcome = result.case.name, result.outcome
    if outcome == "failed":
        return f"FAILED   {name}: {result.failed}"
    if outcome in {"among", "missed"}:
        word = "SECOND" if outcome == "among" else "MISSED"
        return (
            f"{word}   {name}: {' or '.join(result.expected)} wanted; {_raised_codes(result)} found"
        )
    if outcome in {"error", "warning"}:
        alarms = "; ".join(f"{code}: {text}" for code, severity, text in result.findings
                         if severity != "info")  # fmt: skip
        return f"ALARM    {name}: {alarms}"
    return None


def totals_sentence(sums: Totals) -> str:
    """The totals as a sentence."""
    return (
        f"faults {sums.faults}: named first {_count_and_percent(sums.first, sums.faults)}, "
        f"among the findings {_count_and_percent(sums.among, sums.faults)}; programs that are well "
        f"{sums.wells}: with an error {_count_and_percent(sums.with_error, sums.wells)}, "
        f"with a warning {_count_and_percent(sums.with_warning, sums.wells)}"
        + (f"; could not be run {sums.failed}" if sums.failed else "")
    )


def goals_sentence(sums: Totals) -> str:
    """The goals that are met, and those that are not."""
    met = [name for name, holds in sums.goals.items() if holds]
    missed = [name for name, holds in sums.goals.items() if not holds]
    parts = [f"met: {', '.join(met)}"] if met else []
    parts += [f"not met: {', '.join(missed)}"] if missed else []
    all_run = "" if not sums.failed else "; not all programs could be run"
    subject = "all goals" if sums.meets_all_goals else "goals"
    return f"{subject} {'; '.join(parts)}{all_run}"


def _count_and_percent(count: int, whole: int) -> str:
    return f"{count} ({100 * count / whole:.1f} %)" if whole else str(count)


def as_markdown(halves: Mapping[str, Totals], faults: Sequence[Row]) -> str:
    """The totals by half of the matrix, and a row for each fault."""
    lines = [
        "| half | faults | named first | among the findings | programs that are well "
        "| with an error | with a warning |",
        "|---|--:|--:|--:|--:|--:|--:|",
    ]
    for name, sums in halves.items():
        lines.append(
            f"| {name} | {sums.faults} | {_count_and_percent(sums.first, sums.faults)} "
            f"| {_count_and_percent(sums.among, sums.faults)} | {sums.wells} "
            f"| {_count_and_percent(sums.with_error, sums.wells)} "
            f"| {_count_and_percent(sums.with_warning, sums.wells)} |"
        )
    lines += ["", *(f"{name}: {goals_sentence(sums)}." for name, sums in halves.items())]
    lines += ["", "## Fault by fault", ""]
    lines += ["| fault | rule | " + " | ".join(COLUMNS) + " |", "|---|---|--:|--:|--:|--:|"]
    for row in faults:
        counts = " | ".join(str(count) for count in row.counts())
        lines.append(f"| {row.group.replace('_', ' ')} | {' or '.join(row.expected)} | {counts} |")
    return "\n".join(lines)
