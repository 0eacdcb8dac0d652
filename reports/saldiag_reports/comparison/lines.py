"""A comparison as the lines of one table, with a cell for each run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from saldiag.core.comparison import LAYER, Comparison, FileRow, FindingRow, Part, Recorded, Row
from saldiag.core.files.jsonio import jsonable
from saldiag.core.wording import (
    NO_VALUE,
    grouped_count,
    grouped_number,
    listed_names,
    shorten_end,
    shorten_middle,
)
from saldiag_reports.content.tables import Column, Table
from saldiag_reports.content.wording import value_text

SETTING_PARTS: tuple[Part, ...] = ("training", "options", "data", "versions")
"""Parts with the settings of a run; the likeliest reason for a different outcome comes first."""
MAX_LAYER_CHARACTERS = 40
"""Length of a layer's path; longer ones are shortened."""
MAX_CELL_CHARACTERS = 200
"""Length of a cell; longer ones are cut."""


@dataclass(frozen=True)
class Line:
    """One line of the table."""

    part: str
    """The section of the table, such as ``findings``."""
    what: str
    """Name of the line: a setting, a finding, a fact about a layer, or a file."""
    cells: tuple[str, ...]
    """The value in each run."""
    differs: bool
    """Whether the runs differ in it."""
    change: str = ""
    """``new`` or ``gone`` for a finding; empty for others."""


def comparison_lines(comparison: Comparison, everything: bool = False) -> list[Line]:
    """All lines; outcome and findings come first.

    Args:
        comparison: the runs to show.
        everything: whether each layer has its own lines; otherwise layers with the same change
            share one.
    """
    network = _rows_of_part(comparison, "network")
    settings = [row for part in SETTING_PARTS for row in _rows_of_part(comparison, part)]
    return [
        *map(_line_of_row, _rows_of_part(comparison, "outcome")),
        *(_line_of_finding(row, comparison.runs) for row in comparison.findings),
        *(_line_of_row(row) for row in network if everything or not row.differs),
        *([] if everything else _lines_of_alike_rows(network)),
        *map(_line_of_row, settings),
        *map(_line_of_file, comparison.code),
    ]


def lines_table(lines: Sequence[Line], names: Sequence[str]) -> Table:
    """The lines as a table for the page; ``names`` are those of the runs."""
    columns = (
        Column("part", "text"),
        Column("what", "name"),
        *(Column(shorten_middle(name, 40), "text") for name in names),
    )
    rows = tuple((line.part, line.what, *line.cells) for line in lines)
    return Table("Outcome, findings, network, settings and code of each run", columns, rows)


def _rows_of_part(comparison: Comparison, part: Part) -> list[Row]:
    return [row for row in comparison.rows if row.part == part]


def _line_of_row(row: Row) -> Line:
    return Line(row.part, _row_label(row.name, [row.at]), format_cells(row.values), row.differs)


def _row_label(name: str, layers: Sequence[str]) -> str:
    """``LAYER: fact``; only the layer if it was added or removed."""
    if not any(layers):
        return name
    listed = listed_names([shorten_middle(layer, MAX_LAYER_CHARACTERS) for layer in layers], 2)
    return listed if name == LAYER else f"{listed}: {name}"


def _lines_of_alike_rows(rows: Sequence[Row]) -> Iterator[Line]:
    """One line for all layers with the same change: freezing a network is one change."""
    alike: dict[str, list[Row]] = {}
    for row in rows:
        if row.differs:
            alike.setdefault(repr((row.name, _change_key(row))), []).append(row)
    for group in alike.values():
        label = _row_label(group[0].name, [row.at for row in group])
        yield Line("network", label, format_cells(_shared_values(group)), True)


def _change_key(row: Row) -> Any:
    if row.name == LAYER:
        return [value is not None for value in row.values]
    return jsonable(row.values)


def _shared_values(group: Sequence[Row]) -> tuple[Any, ...]:
    first = group[0]
    if first.name != LAYER or len(group) == 1:
        return first.values
    return tuple(value and grouped_count(len(group), "layer") for value in first.values)


def format_cells(values: Sequence[Any]) -> tuple[str, ...]:
    """The values as text; numbers have as many digits as are needed to distinguish them."""
    distinct = len({repr(jsonable(value)) for value in values})
    texts: tuple[str, ...] = ()
    for digits in (3, 6, None):
        texts = tuple(_format_cell(value, digits) for value in values)
        if len(set(texts)) == distinct:
            break
    return texts


def _format_cell(value: Any, digits: int | None) -> str:
    if isinstance(value, float):
        return grouped_number(value, digits) if digits else repr(value)
    if value == "":
        return "(empty)"
    return value_text(
        value.replace("_", " ") if value in _SPACED_VERDICTS else value, MAX_CELL_CHARACTERS
    )


_SPACED_VERDICTS = ("does_not_learn", "not_tested")
"""Verdicts that are shown with spaces."""


def _line_of_finding(row: FindingRow, runs: Sequence[Recorded]) -> Line:
    layers = [shorten_middle(layer, MAX_LAYER_CHARACTERS) for layer in row.layers]
    where = f" in {listed_names(layers, 2)}" if layers else ""
    texts = [_finding_cell(row, index, runs[index]) for index in range(len(runs))]
    change = next((c for c in row.changes if c in ("new", "gone")), "")
    return Line("findings", f"{row.rule} {row.name}{where}", tuple(texts), row.differs, change)


def _finding_cell(row: FindingRow, index: int, run: Recorded) -> str:
    seen = row.seen[index]
    change = row.changes[index - 1] if index else ""
    if seen is None:
        return _why_not_found(row.rule, run) or ("gone" if change == "gone" else NO_VALUE)
    root = ", root cause" if row.roots[index] else ""
    return f"{'new: ' if change == 'new' else ''}{seen.severity}{root}"


def _why_not_found(rule: str, run: Recorded) -> str:
    """Why the rule found nothing in a run; empty if it judged the run."""
    if run.diagnosis is None:
        return "not judged"
    skipped = any(skipped.rule == rule for skipped in run.diagnosis.skipped)
    return "could not judge" if skipped else ""


def _line_of_file(row: FileRow) -> Line:
    versions = tuple(
        _file_version(row, index) if known else "not recorded"
        for index, known in enumerate(row.known)
    )
    return Line("code", row.file, versions, row.differs)


def _file_version(row: FileRow, index: int) -> str:
    source = row.files[index]
    if source is None:
        return NO_VALUE
    renamed = f"{source.file}, " if source.file != row.file else ""
    first = row.files[0]
    if index and first is not None and source.sha256 == first.sha256:
        return f"{renamed}the same"
    return f"{renamed}sha256 {source.sha256[:12]}"


def change_summary(comparison: Comparison, lines: Sequence[Line]) -> str:
    """Number of new, gone and remaining findings, and of lines that are the same in all runs."""
    changes = [change for row in comparison.findings for change in row.changes]
    still = changes.count("still")
    parts = [
        f"{grouped_count(changes.count('new'), 'new finding')}, {changes.count('gone')} gone,"
        f" {still} remaining"
    ]
    if unknown := changes.count("unknown"):
        parts.append(f"{unknown} could not be judged in one of the runs")
    same = sum(not line.differs for line in lines)
    if same:
        parts.append(f"{grouped_count(same, 'line')} the same in all runs")
    return " · ".join(parts)


def comparison_title(comparison: Comparison) -> str:
    """``broken → fixed``, or the first run and the number of the others."""
    first, *others = [shorten_middle(run.name, 60) for run in comparison.runs]
    return f"{first} → {others[0] if len(others) == 1 else grouped_count(len(others), 'run')}"


def titled_diffs(comparison: Comparison) -> Iterator[tuple[str, str]]:
    """Title and text of each diff; a file whose text was not recorded has a sentence instead."""
    for row in comparison.code:
        for index, text in enumerate(row.diffs, 1):
            if text is None and _file_differs(row, index):
                note = "The file differs. Its text was not recorded: it is too long, or not text.\n"
                yield _diff_title(row, comparison.runs[index].name), note
            elif text:
                yield _diff_title(row, comparison.runs[index].name), text


def _file_differs(row: FileRow, index: int) -> bool:
    if not (row.known[0] and row.known[index]):
        return False
    one, two = row.files[0], row.files[index]
    return (one.sha256 if one else None) != (two.sha256 if two else None)


def _diff_title(row: FileRow, run: str) -> str:
    return shorten_end(f"{row.file} in {run}", 120)
