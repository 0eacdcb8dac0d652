"""Findings that are new, gone, or still there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from saldiag.core.findings.diagnosis import Diagnosis
from saldiag.core.findings.finding import Finding

Change = Literal["new", "gone", "still", "absent", "unknown"]
"""``unknown``: one of the two runs has the finding, and the other could not judge."""

Names = Mapping[str, str]
"""Layer path in a run to the path of the same layer in the first run."""


@dataclass(frozen=True)
class FindingRow:
    """One finding in each run."""

    rule: str
    """Code of the rule."""
    name: str
    """Name of the rule."""
    layers: tuple[str, ...]
    """Paths of the layers it is about, in the first run that has it."""
    seen: tuple[Finding | None, ...]
    """The finding in each run; None if a run does not have it."""
    roots: tuple[bool, ...]
    """Whether it is the root cause, for each run."""
    changes: tuple[Change, ...]
    """Change from the first run to each later one."""

    @property
    def differs(self) -> bool:
        """Whether it is not in all runs, or differs in severity or in being the root cause."""
        told = {
            (seen.severity, root) if seen else None
            for seen, root in zip(self.seen, self.roots, strict=True)
        }
        return len(told) > 1

    @property
    def finding(self) -> Finding:
        """The finding in the first run that has it."""
        return next(seen for seen in self.seen if seen is not None)


def compare_findings(
    diagnoses: Sequence[Diagnosis | None], layers: Sequence[Names]
) -> tuple[FindingRow, ...]:
    """One row a finding, those of the first run first.

    Args:
        diagnoses: those of the runs; None where a run was not judged.
        layers: for each run, what its layers are called in the first one.
    """
    first, *later = [list(each.findings) if each else [] for each in diagnoses]
    rows: list[list[Finding | None]] = [[finding] for finding in first]
    added: dict[tuple[str, tuple[str, ...], int], list[Finding | None]] = {}
    for index, (findings, names) in enumerate(zip(later, layers[1:], strict=True), 1):
        partners = _partners(first, findings, names)
        for place, row in enumerate(rows):
            row.append(findings[partners[place]] if place in partners else None)
        left = [f for at, f in enumerate(findings) if at not in partners.values()]
        for key, finding in _keyed(left, names):
            added.setdefault(key, [None] * len(diagnoses))[index] = finding
    return tuple(_row(tuple(row), diagnoses) for row in (*rows, *added.values()))


def _keyed(
    findings: Sequence[Finding], names: Names
) -> Iterator[tuple[tuple[str, tuple[str, ...], int], Finding]]:
    """Findings by rule and layers; equal ones are counted."""
    counted: dict[tuple[str, tuple[str, ...]], int] = {}
    for finding in findings:
        key = (finding.rule, _layers(finding, names))
        counted[key] = counted.get(key, -1) + 1
        yield (*key, counted[key]), finding


def _layers(finding: Finding, names: Names) -> tuple[str, ...]:
    return tuple(names.get(layer, layer) for layer in finding.layers)


def _partners(first: list[Finding], other: list[Finding], names: Names) -> dict[int, int]:
    """Place in ``other`` of what is still there of ``first``: the same rule, at the same layers.

    Where it is at other layers, those go together that share most of them, and at least one.
    """
    candidates = sorted(
        (-overlap, abs(i - j), max(i, j), i, j)
        for i, one in enumerate(first)
        for j, two in enumerate(other)
        if one.rule == two.rule and (overlap := _overlap(one.layers, _layers(two, names)))
    )
    pairs: dict[int, int] = {}
    for *_, i, j in candidates:
        if i not in pairs and j not in pairs.values():
            pairs[i] = j
    return pairs


def _overlap(one: tuple[str, ...], two: tuple[str, ...]) -> float:
    """Share of the layers that both have; 1 where neither names any."""
    if one == two:
        return 1.0
    together = set(one) | set(two)
    return len(set(one) & set(two)) / len(together)


def _row(seen: tuple[Finding | None, ...], diagnoses: Sequence[Diagnosis | None]) -> FindingRow:
    finding = next(each for each in seen if each is not None)
    roots = [
        each is not None and diagnosis is not None and diagnosis.root_finding() is each
        for each, diagnosis in zip(seen, diagnoses, strict=True)
    ]
    judged = [_could_judge(finding.rule, diagnosis) for diagnosis in diagnoses]
    changes = [
        _change(seen[0], each, judged[0] and could)
        for each, could in zip(seen[1:], judged[1:], strict=True)
    ]
    return FindingRow(
        finding.rule, finding.name, finding.layers, seen, tuple(roots), tuple(changes)
    )


def _could_judge(rule: str, diagnosis: Diagnosis | None) -> bool:
    """A rule that was skipped says nothing: that is never a pass."""
    return diagnosis is not None and rule not in {skipped.rule for skipped in diagnosis.skipped}


def _change(before: Finding | None, after: Finding | None, judged: bool) -> Change:
    if before is None and after is None:
        return "absent"
    if before is not None and after is not None:
        return "still"
    if not judged:
        return "unknown"
    return "new" if after is not None else "gone"
