"""The outcome for a terminal: verdict first, then the root cause, then a short table."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Literal

from rich.console import Console, Group, RenderableType
from rich.table import Table as RichTable
from rich.text import Text

from saldiag.core.findings.diagnosis import Diagnosis, Verdict
from saldiag.core.findings.finding import Finding, Severity
from saldiag.core.findings.hypothesis import Hypothesis, HypothesisOutcome
from saldiag.core.measurement import (
    DatasetScores,
    DtypeTrace,
    GradientHistory,
    HeldOutScores,
    TrainableStatus,
)
from saldiag.core.wording import (
    first_names,
    grouped_count,
    grouped_number,
    location,
    shorten_end,
    shorten_middle,
    visible_lines,
    visible_text,
)
from saldiag_reports.content import hypothesis_text, summaries, tables
from saldiag_reports.content.data import ReportData
from saldiag_reports.content.tables import Table
from saldiag_reports.content.wording import diff_lines, headline, shell_command

MAX_FINDINGS = 12
MAX_HYPOTHESES = 12
MAX_ROWS = 20
"""Rows of a table on a screen; the report has the rest."""

NARROWEST = 40
"""Below this many columns words no longer fit; the terminal wraps instead."""

VERDICT_STYLES: dict[Verdict, str] = {
    "learns": "bold green",
    "does_not_learn": "bold red",
    "inconclusive": "bold yellow",
    "not_tested": "bold",
}
SEVERITY_STYLES: dict[Severity, str] = {"error": "red", "warning": "yellow", "info": "blue"}
OUTCOME_STYLES: dict[HypothesisOutcome, str] = {"confirmed": "green", "undecided": "yellow"}


def render_text(data: ReportData, width: int = 80, path: Path | None = None) -> str:
    """The outcome as plain text of at most ``width`` columns; only a path may be longer.

    Args:
        data: the run.
        width: columns of the terminal.
        path: the run directory, to tell where the report lies.
    """
    console = Console(
        file=io.StringIO(), width=max(width, NARROWEST), color_system=None, legacy_windows=False
    )
    with console.capture() as captured:
        _print(console, data, path)
    return "".join(line.rstrip() + "\n" for line in captured.get().splitlines())


def print_text(data: ReportData, path: Path | None = None, console: Console | None = None) -> None:
    """Print the outcome; in colour only on a terminal, and not where ``NO_COLOR`` is set.

    What the stream's encoding cannot hold becomes ``?``: a pipe in plain ASCII is no error.
    """
    write_captured(console or Console(highlight=False), lambda to: _print(to, data, path))


def write_captured(console: Console, draw: Callable[[Console], None]) -> None:
    """Write on the console's stream what ``draw`` prints, ``?`` for what it cannot encode."""
    with console.capture() as captured:
        draw(console)
    stream = console.file
    encoding = getattr(stream, "encoding", None) or "utf-8"
    stream.write(captured.get().encode(encoding, "replace").decode(encoding))
    stream.flush()


def _print(console: Console, data: ReportData, path: Path | None) -> None:
    for block in _blocks(data):
        console.print(block, highlight=False)
    if path is not None:
        # A path is copied from here: it is never cut, and only the terminal may wrap it.
        for line in _ways_on(data, path):
            console.print(Text(line), soft_wrap=True, highlight=False)


def _ways_on(data: ReportData, path: Path) -> Iterator[str]:
    if any(finding.diff and finding.to_mend for finding in data.diagnosis.findings):
        yield f"Repair: {shell_command(('saldiag', 'fix', str(path)))}"
    yield f"Report: {visible_text(str(path / 'report.html'))}"


def _blocks(data: ReportData) -> Iterator[RenderableType]:
    diagnosis = data.diagnosis
    yield Text(visible_text(headline(diagnosis)), style=VERDICT_STYLES[diagnosis.verdict])
    if diagnosis.verdict_reason and diagnosis.verdict != "not_tested":
        yield Text(visible_text(diagnosis.verdict_reason), style="dim")
    yield ""
    if told := hypothesis_text.of(data):
        yield from (Text(sentence) for sentence in told)
        yield ""
    if (root := diagnosis.root_finding()) is not None:
        yield _root(root, diagnosis)
        yield ""
    elif diagnosis.verdict == "does_not_learn":
        yield "No rule found a reason."
        yield ""
    others = [f for f in diagnosis.findings if f is not root]
    if others:
        yield _findings(others)
        yield ""
    if diagnosis.hypotheses:
        yield _experiments(diagnosis.hypotheses)
        yield ""
    for table in _command_tables(data):
        yield table
        yield ""
    yield Text(_summary(data), style="dim")


def _root(root: Finding, diagnosis: Diagnosis) -> RenderableType:
    grid = RichTable.grid(padding=(0, 2, 0, 0))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    label = "Finding" if diagnosis.verdict == "learns" else "Root cause"
    where = (
        f" in {first_names([shorten_middle(layer, 50) for layer in root.layers])}"
        if root.layers
        else ""
    )
    grid.add_row(label, Text.assemble((f"{root.rule} {root.name}", "bold"), visible_text(where)))
    grid.add_row("", Text(visible_lines(root.message)))
    if root.source is not None:
        grid.add_row("Source", Text(visible_text(location(root.source))))
        if root.source.text:
            grid.add_row("", Text(shorten_end(root.source.text, 200), style="italic"))
    grid.add_row("Fix", Text(visible_lines(root.fix), style="bold"))
    if root.confirmed_by:
        grid.add_row("Proof", Text(hypothesis_text.confirmation(root, diagnosis.hypotheses)))
    if root.diff:
        grid.add_row("Diff", _diff(root.diff))
    return grid


def _diff(diff: str) -> Text:
    """The lines that change; the report has those around them."""
    styles = {"added": "green", "removed": "red"}
    changed = [(side, line) for side, line in diff_lines(diff) if side in styles]
    told = Text("\n").join(
        Text(shorten_end(line, 200), style=styles[side]) for side, line in changed[:12]
    )
    more = len(changed) - 12
    return told.append(f"\n… and {grouped_count(more, 'line')} more") if more > 0 else told


def _findings(findings: list[Finding]) -> RenderableType:
    grid = RichTable.grid(padding=(0, 2, 0, 0))
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    for finding in findings[:MAX_FINDINGS]:
        severity = Text(finding.severity, style=SEVERITY_STYLES[finding.severity])
        grid.add_row(severity, _said(finding))
    more = len(findings) - MAX_FINDINGS
    note = [Text(f"… and {grouped_count(more, 'finding')} more in the report")] if more > 0 else []
    return Group(Text("Also found", style="dim"), grid, *note)


def _said(finding: Finding) -> Text:
    """An explained finding needs no more than its reason; another one its message."""
    name = f"{visible_text(finding.rule)} {shorten_middle(finding.name, 40)}"
    if finding.explained_by:
        return Text.assemble(name, (f" explained by {visible_text(finding.explained_by)}", "dim"))
    if finding.confirmed_by:
        name += f", confirmed by {visible_text(finding.confirmed_by)}"
    return Text(f"{name}\n{shorten_end(finding.message, 300)}")


def _experiments(hypotheses: Sequence[Hypothesis]) -> RenderableType:
    """What was tried and what came of it; what could not be tried is counted."""
    told = [h for h in hypotheses if h.tried]
    inapplicable = sum(h.outcome == "not applicable" for h in hypotheses)
    grid = RichTable.grid(padding=(0, 2, 0, 0))
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    for h in told[:MAX_HYPOTHESES]:
        said = Text.assemble(shorten_end(h.hypothesis, 200), (f"\n{_trial(h, hypotheses)}", "dim"))
        grid.add_row(Text(h.outcome, style=OUTCOME_STYLES.get(h.outcome, "dim")), said)
    more = {
        "more": len(told) - MAX_HYPOTHESES,
        "not tried": len(hypotheses) - len(told) - inapplicable,
        "not applicable": inapplicable,
    }
    notes = [f"{amount} {which}" for which, amount in more.items() if amount > 0]
    note = (
        [Text(f"… and {hypothesis_text.listed(notes)} in the report", style="dim")] if notes else []
    )
    title = "Experiments: mean absolute error, and the effect in R² with its 95 % interval"
    return Group(Text(title, style="dim"), *([grid] if told else []), *note)


def _trial(h: Hypothesis, hypotheses: Sequence[Hypothesis]) -> str:
    """What was changed, the error and the score's difference with its interval."""
    why = f"; {shorten_end(h.reason, 200)}" if h.outcome == "undecided" else ""
    moved = (
        hypothesis_text.measure(h)
        if h.mode == "inference"
        else f"error {hypothesis_text.pair(h.error)}"
    )
    return (
        f"{hypothesis_text.subject(h, hypotheses)}: {moved}, effect {hypothesis_text.effect(h)}, "
        f"{h.restored} of {grouped_count(h.seeds, 'seed')}, {grouped_count(h.steps, 'step')}{why}"
    )


def _summary(data: ReportData) -> str:
    diagnosis = data.diagnosis
    told: list[str] = [data.info.status] if data.info.status in ("interrupted", "failed") else []
    told += [
        grouped_count(len(diagnosis.findings), "finding") if diagnosis.findings else "nothing found"
    ]
    if diagnosis.skipped:
        told.append(
            f"{grouped_count(len(diagnosis.skipped), 'rule')} could not judge (the report says why)"
        )
    if "total" in diagnosis.timings:
        told.append(f"{grouped_number(diagnosis.timings['total'])} s")
    return " · ".join(told)


def _command_tables(data: ReportData) -> Iterator[RenderableType]:
    """The table that the command was run for."""
    make = _TABLES.get(data.command)
    table = make(data) if make else None
    if table is not None:
        yield table


def gradients_table(data: ReportData, most: int = MAX_ROWS) -> RenderableType | None:
    """Gradient norms by block in network order; None if they were not measured."""
    history = data.measured.get(GradientHistory)
    if history is None:
        return None
    return screen_table(tables.gradients_by_block(history, data.measured, most), most)


def dtypes_table(data: ReportData, most: int = MAX_ROWS) -> RenderableType | None:
    """Dtypes by kind of layer, calls that agree in one row; None if not traced."""
    trace = data.measured.get(DtypeTrace)
    if trace is None:
        return None
    return Group(
        Text(visible_text(summaries.dtypes(trace))),
        screen_table(tables.dtypes_by_kind(trace), most),
    )


def trainable_table(data: ReportData, most: int = MAX_ROWS) -> RenderableType | None:
    """Flags and facts, variables that agree in one row; None if not measured."""
    status = data.measured.get(TrainableStatus)
    if status is None:
        return None
    return Group(
        Text(visible_text(summaries.trainable(status))),
        screen_table(tables.trainable_by_flags(status), most),
    )


def held_out_table(data: ReportData, most: int = MAX_ROWS) -> RenderableType | None:
    """Scores of the best checkpoint on held-out pictures; None if it was not scored."""
    found = data.measured.get(HeldOutScores)
    if found is None:
        return None
    table = screen_table(tables.mask_scores(found.rows), most)
    return Group(Text(summaries.held_out(found)), table, Text(f"{summaries.SCORED}.", style="dim"))


def print_mask_scores(
    found: Sequence[DatasetScores], stretched: bool = False, console: Console | None = None
) -> None:
    """Print a table of predicted masks' scores, one row a data set.

    Args:
        found: the data sets.
        stretched: whether each mask was stretched to the full range first.
        console: where to; stdout if not given.
    """
    note = f"{summaries.SCORED}; {'each' if stretched else 'not'} stretched to 0…255."

    def draw(to: Console) -> None:
        to.print(screen_table(tables.mask_scores(found)), highlight=False)
        to.print(Text(note, style="dim"), highlight=False)

    write_captured(console or Console(highlight=False), draw)


_TABLES: dict[str, Callable[[ReportData], RenderableType | None]] = {
    "gradients": gradients_table,
    "dtypes": dtypes_table,
    "trainable": trainable_table,
    "train": held_out_table,
}


def screen_table(table: Table, most: int = MAX_ROWS) -> RenderableType:
    """The first ``most`` rows of a table, and how many more the report has."""
    made = RichTable(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
    for index, column in enumerate(table.columns):
        justify: Literal["left", "right"] = "right" if column.numeric else "left"
        # Where a screen is narrow rich shrinks the columns that may wrap: the name gives way (its
        # cells are cut, not wrapped), the facts stay.
        made.add_column(column.title, justify=justify, no_wrap=index > 0, overflow="ellipsis")
    for row in table.rows[:most]:
        cells = [column.text(value) for column, value in zip(table.columns, row, strict=True)]
        made.add_row(
            *(Text(visible_text(cell), no_wrap=True, overflow="ellipsis") for cell in cells)
        )
    more = max(len(table.rows) - most, 0) + table.left_out
    note = [Text(f"… and {grouped_count(more, 'row')} more in the report")] if more > 0 else []
    return Group(made, *note)
