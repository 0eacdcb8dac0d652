"""A comparison as the lines of one table: what it is of, and a cell for each run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from saldiag.core.comparison import LAYER, Comparison, FileRow, FindingRow, Part, Recorded, Row
from saldiag.core.files.jsonio import jsonable
from saldiag.core.wording import (
    NO_VALUE,
    first_names,
    grouped_count,
    grouped_number,
    shorten_end,
    shorten_middle,
)
from saldiag_reports.content.tables import Column, Table
from saldiag_reports.content.wording import value_text

SETTINGS: tuple[Part, ...] = ("training", "options", "data", "versions")
"""What a run was made with, the likeliest reason for another outcome first."""
MAX_LAYER = 40
MAX_CELL = 200


@dataclass(frozen=True)
class Line:
    """One line of the table: ``part`` is its section, ``change`` what became of a finding."""

    part: str
    what: str
    cells: tuple[str, ...]
    differs: bool
    change: str = ""


def lines_of(comparison: Comparison, everything: bool = False) -> list[Line]:
    """All lines, outcome and findings first.

    Args:
        comparison: the runs, compared.
        everything: whether each layer has its own lines; otherwise those that changed alike share
            one.
    """
    return [
        *(_row(row) for row in _of(comparison, "outcome")),
        *(_finding(row, comparison.runs) for row in comparison.findings),
        *(_row(row) for row in _of(comparison, "network") if everything or not row.differs),
        *([] if everything else _gathered(_of(comparison, "network"))),
        *(_row(row) for part in SETTINGS for row in _of(comparison, part)),
        *(_file(row) for row in comparison.code),
    ]


def table_of(lines: Sequence[Line], names: Sequence[str]) -> Table:
    """The lines as a table for a page."""
    columns = (
        Column("part", "text"),
        Column("what", "name"),
        *(Column(shorten_middle(name, 40), "text") for name in names),
    )
    rows = tuple((line.part, line.what, *line.cells) for line in lines)
    return Table("Settings, outcome, findings, network and code, run by run", columns, rows)


def _of(comparison: Comparison, part: Part) -> list[Row]:
    return [row for row in comparison.rows if row.part == part]


def _row(row: Row) -> Line:
    return Line(row.part, _what(row.name, [row.at]), cells(row.values), row.differs)


def _what(name: str, layers: Sequence[str]) -> str:
    """``LAYER: fact``; of a layer that came or went its name alone."""
    told = (
        first_names([shorten_middle(layer, MAX_LAYER) for layer in layers], 2)
        if any(layers)
        else ""
    )
    return told if name == LAYER else f"{told}: {name}" if told else name


def _gathered(rows: Sequence[Row]) -> Iterator[Line]:
    """One line for all layers that changed alike, one for those that came or went in the same runs.

    A network that was frozen, or is computed in another dtype, is one change, not hundreds.
    """
    alike: dict[str, list[Row]] = {}
    for row in rows:
        if row.differs:
            alike.setdefault(repr((row.name, _change(row))), []).append(row)
    for held in alike.values():
        what = _what(held[0].name, [row.at for row in held])
        yield Line("network", what, cells(_together(held)), True)


def _change(row: Row) -> Any:
    if row.name == LAYER:
        return [value is not None for value in row.values]
    return jsonable(row.values)


def _together(held: Sequence[Row]) -> tuple[Any, ...]:
    first = held[0]
    if first.name != LAYER or len(held) == 1:
        return first.values
    return tuple(value and grouped_count(len(held), "layer") for value in first.values)


def cells(values: Sequence[Any]) -> tuple[str, ...]:
    """Values as they are read: numbers with as many digits as tell them apart."""
    different = len({repr(jsonable(value)) for value in values})
    told: tuple[str, ...] = ()
    for digits in (3, 6, None):
        told = tuple(_cell(value, digits) for value in values)
        if len(set(told)) == different:
            break
    return told


def _cell(value: Any, digits: int | None) -> str:
    if isinstance(value, float):
        return grouped_number(value, digits) if digits else repr(value)
    if value == "":
        return "(empty)"
    return value_text(value.replace("_", " ") if value in _VERDICTS else value, MAX_CELL)


_VERDICTS = ("does_not_learn", "not_tested")


def _finding(row: FindingRow, runs: Sequence[Recorded]) -> Line:
    layers = [shorten_middle(layer, MAX_LAYER) for layer in row.layers]
    where = f" in {first_names(layers, 2)}" if layers else ""
    told = [_told(row, index, runs[index]) for index in range(len(runs))]
    change = next((c for c in row.changes if c in ("new", "gone")), "")
    return Line("findings", f"{row.rule} {row.name}{where}", tuple(told), row.differs, change)


def _told(row: FindingRow, index: int, run: Recorded) -> str:
    seen = row.seen[index]
    change = row.changes[index - 1] if index else ""
    if seen is None:
        return _not_seen(row.rule, run) or ("gone" if change == "gone" else NO_VALUE)
    root = ", root cause" if row.roots[index] else ""
    return f"{'new: ' if change == 'new' else ''}{seen.severity}{root}"


def _not_seen(rule: str, run: Recorded) -> str:
    """Why a run cannot have a finding; empty where it simply has it not."""
    if run.diagnosis is None:
        return "not judged"
    skipped = any(skipped.rule == rule for skipped in run.diagnosis.skipped)
    return "could not judge" if skipped else ""


def _file(row: FileRow) -> Line:
    told = tuple(
        _version(row, index) if known else "not recorded" for index, known in enumerate(row.known)
    )
    return Line("code", row.file, told, row.differs)


def _version(row: FileRow, index: int) -> str:
    source = row.files[index]
    if source is None:
        return NO_VALUE
    renamed = f"{source.file}, " if source.file != row.file else ""
    first = row.files[0]
    if index and first is not None and source.sha256 == first.sha256:
        return f"{renamed}the same"
    return f"{renamed}sha256 {source.sha256[:12]}"


def summary(comparison: Comparison, lines: Sequence[Line]) -> str:
    """``4 findings gone, 1 new, 2 still there``; and how many lines are the same in all runs."""
    changes = [change for row in comparison.findings for change in row.changes]
    still = sum(change == "still" for change in changes)
    told = [
        f"{grouped_count(changes.count('new'), 'finding')} new, {changes.count('gone')} gone,"
        f" {still} still there"
    ]
    if unknown := changes.count("unknown"):
        told.append(f"{unknown} could not be judged in one of the runs")
    same = sum(not line.differs for line in lines)
    if same:
        told.append(f"{grouped_count(same, 'line')} the same in all runs")
    return " · ".join(told)


def title(comparison: Comparison) -> str:
    """``broken → fixed``, or the base and how many others there are."""
    first, *others = [shorten_middle(run.name, 60) for run in comparison.runs]
    return f"{first} → {others[0] if len(others) == 1 else grouped_count(len(others), 'run')}"


def diffs(comparison: Comparison) -> Iterator[tuple[str, str]]:
    """Title and text of each diff; the text says why where there is none to show."""
    for row in comparison.code:
        for index, text in enumerate(row.diffs, 1):
            if text is None and _differs(row, index):
                why = "It was changed; its text was not kept, for it is too long or no text.\n"
                yield _named(row, comparison.runs[index].name), why
            elif text:
                yield _named(row, comparison.runs[index].name), text


def _differs(row: FileRow, index: int) -> bool:
    if not (row.known[0] and row.known[index]):
        return False
    one, two = row.files[0], row.files[index]
    return (one.sha256 if one else None) != (two.sha256 if two else None)


def _named(row: FileRow, run: str) -> str:
    return shorten_end(f"{row.file} in {run}", 120)
