"""Differences between recorded runs: settings, network, findings, code and curves, as plain data.

The first run is the base; every other run is compared with it. Nothing is judged here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from saldiag.core.comparison.code import FileRow, compare_files
from saldiag.core.comparison.curves import Curve, curves_of
from saldiag.core.comparison.findings import Change, FindingRow, compare_findings
from saldiag.core.comparison.network import compare_networks
from saldiag.core.comparison.notes import notes_on
from saldiag.core.comparison.recorded import Recorded, read_runs
from saldiag.core.comparison.rows import LAYER, PARTS, Part, Row, rows_of
from saldiag.core.comparison.settings import data, options, outcome, training, versions
from saldiag.core.findings.finding import Severity, at_least


@dataclass(frozen=True)
class Comparison:
    """Two or more runs side by side; each row has a value for every run."""

    runs: tuple[Recorded, ...]
    """The runs, in the order given; the first is the base."""
    rows: tuple[Row, ...]
    """Facts about outcome, options, versions, training, data and network, equal ones included."""
    findings: tuple[FindingRow, ...]
    """All findings of all runs."""
    code: tuple[FileRow, ...]
    """All source files of all runs, unchanged ones included."""
    curves: tuple[Curve, ...]
    """Curves with at least one finite value, by run."""
    notes: tuple[str, ...] = ()
    """What limits the comparison, one line each: missing measurements, unfinished runs."""

    @property
    def same(self) -> bool:
        """Whether nothing that was recorded differs."""
        return not (
            any(row.differs for row in self.rows)
            or any(row.differs for row in self.findings)
            or any(row.differs for row in self.code)
        )

    def new(self, limit: Severity) -> list[FindingRow]:
        """Findings of at least ``limit`` in a later run that the first lacks or has below it."""
        return [row for row in self.findings if _is_new(row, limit)]


def _is_new(row: FindingRow, limit: Severity) -> bool:
    first, *later = [seen is not None and at_least(seen.severity, limit) for seen in row.seen]
    return any(later) and not first


def compare(runs: Sequence[Recorded]) -> Comparison:
    """Compare runs with the first of them.

    Args:
        runs: at least two.
    """
    network, layers = compare_networks([run.wiring for run in runs], [run.dtypes for run in runs])
    rows = (
        *rows_of("outcome", [outcome(run) for run in runs]),
        *rows_of("options", [options(run) for run in runs]),
        *rows_of("versions", [versions(run) for run in runs]),
        *rows_of("training", [training(run) for run in runs]),
        *rows_of("data", [data(run) for run in runs]),
        *network,
    )
    return Comparison(
        tuple(runs),
        rows,
        compare_findings([run.diagnosis for run in runs], layers),
        compare_files([run.sources for run in runs], [run.name for run in runs]),
        tuple(curve for index, run in enumerate(runs) for curve in curves_of(run, index)),
        tuple(notes_on(runs)),
    )


def compare_runs(paths: Sequence[Path]) -> Comparison:
    """Read runs and compare them with the first of them.

    Raises:
        RunError: there is no run at a path, or it cannot be read.
    """
    return compare(read_runs(paths))


__all__ = [
    "LAYER",
    "PARTS",
    "Change",
    "Comparison",
    "Curve",
    "FileRow",
    "FindingRow",
    "Part",
    "Recorded",
    "Row",
    "compare",
    "compare_runs",
]
