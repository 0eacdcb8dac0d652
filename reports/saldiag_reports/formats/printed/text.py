"""Text for a terminal: the verdict, the root cause, other findings, then a short table."""

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
    file_and_line,
    grouped_count,
    grouped_number,
    listed_names,
    plain,
    plain_lines,
    shorten_end,
    shorten_middle,
)
from saldiag_reports.content import hypothesis_text, summaries, tables
from saldiag_reports.content.data import ReportData
from saldiag_reports.content.tables import Table
from saldiag_reports.content.wording import diff_lines, shell_command, verdict_headline
from saldiag_reports.formats.printed_run import PrintedFormat, PrintedRun

MAX_FINDINGS = 12
"""Findings beside the root cause that are listed; the report has the rest."""

MAX_HYPOTHESES = 12
"""Experiments that are listed; the report has the rest."""

MAX_CHANGED_LINES = 12
"""Lines of a diff that are shown; the report has the rest."""

MAX_ROWS = 20
"""Rows of a table that are shown; the report has the rest."""

MIN_WIDTH = 40
"""Smallest width of the layout, in columns; a narrower terminal wraps the lines."""

VERDICT_STYLES: dict[Verdict, str] = {
    "learns": "bold green",
    "does_not_learn": "bold red",
    "inconclusive": "bold yellow",
    "not_tested": "bold",
}
SEVERITY_STYLES: dict[Severity, str] = {"error": "red", "warning": "yellow", "info": "blue"}
OUTCOME_STYLES: dict[HypothesisOutcome, str] = {"confirmed": "green", "undecided": "yellow"}


def render_text(data: ReportData, width: int = 80, path: Path | None = None) -> str:
    """The run as plain text without colours; only a path may be longer than ``width``.

    Args:
        data: the run.
        width: width of the terminal in columns.
        path: the run directory, to print where the report is; None leaves those lines out.
    """
    console = Console(
        file=io.StringIO(), width=max(width, MIN_WIDTH), color_system=None, legacy_windows=False
    )
    with console.capture() as captured:
        _print_report(console, data, path)
    return "".join(line.rstrip() + "\n" for line in captured.get().splitlines())


def print_text(data: ReportData, path: Path | None = None, console: Console | None = None) -> None:
    """Print the run, in colour if the stream is a terminal and ``NO_COLOR`` is not set.

    Characters that the stream's encoding does not have become ``?``.
    """
    write_captured(
        console or Console(highlight=False), lambda console: _print_report(console, data, path)
    )


def _render_runs(runs: Sequence[PrintedRun], _fail_on: Severity) -> str:
    """The runs one after the other, in colour if stdout is a terminal."""
    console = Console(highlight=False)
    with console.capture() as captured:
        for run in runs:
            _print_report(console, run.data, run.path)
    return captured.get()


FORMAT = PrintedFormat("Text for a terminal.", _render_runs)


def write_captured(console: Console, draw: Callable[[Console], None]) -> None:
    """Write what ``draw`` prints to the console's stream, ``?`` for characters it cannot encode."""
    with console.capture() as captured:
        draw(console)
    stream = console.file
    encoding = getattr(stream, "encoding", None) or "utf-8"
    stream.write(captured.get().encode(encoding, "replace").decode(encoding))
    stream.flush()


def _print_report(console: Console, data: ReportData, path: Path | None) -> None:
    for block in _report_blocks(data):
        console.print(block, highlight=False)
    if path is not None:
        # Users copy the path: it is never shortened, and only the terminal may wrap it.
        for line in _next_steps(data, path):
            console.print(Text(line), soft_wrap=True, highlight=False)


def _next_steps(data: ReportData, path: Path) -> Iterator[str]:
    """The command that applies the fixes, if there are any, and where the report is."""
    if any(finding.diff and finding.to_mend for finding in data.diagnosis.findings):
        yield f"Repair: {shell_command(('saldiag', 'fix', str(path)))}"
    yield f"Report: {plain(str(path / 'report.html'))}"


def _report_blocks(data: ReportData) -> Iterator[RenderableType]:
    diagnosis = data.diagnosis
    yield Text(plain(verdict_headline(diagnosis)), style=VERDICT_STYLES[diagnosis.verdict])
    if diagnosis.verdict_reason and diagnosis.verdict != "not_tested":
        yield Text(plain(diagnosis.verdict_reason), style="dim")
    yield ""
    if sentences := hypothesis_text.run_sentences(data):
        yield from (Text(sentence) for sentence in sentences)
        yield ""
    if (root := diagnosis.root_finding()) is not None:
        yield _root_cause_block(root, diagnosis)
        yield ""
    elif diagnosis.verdict == "does_not_learn":
        yield "No rule found a cause."
        yield ""
    others = [f for f in diagnosis.findings if f is not root]
    if others:
        yield _other_findings_block(others)
        yield ""
    if diagnosis.hypotheses:
        yield _experiments_block(diagnosis.hypotheses)
        yield ""
    for table in _command_tables(data):
        yield table
        yield ""
    yield Text(_closing_line(data), style="dim")


def _root_cause_block(root: Finding, diagnosis: Diagnosis) -> RenderableType:
    grid = RichTable.grid(padding=(0, 2, 0, 0))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    label = "Finding" if diagnosis.verdict == "learns" else "Root cause"
    where = (
        f" in {listed_names([shorten_middle(layer, 50) for layer in root.layers])}"
        if root.layers
        else ""
    )
    grid.add_row(label, Text.assemble((f"{root.rule} {root.name}", "bold"), plain(where)))
    grid.add_row("", Text(plain_lines(root.message)))
    if root.source is not None:
        grid.add_row("Source", Text(plain(file_and_line(root.source))))
        if root.source.text:
            grid.add_row("", Text(shorten_end(root.source.text, 200), style="italic"))
    grid.add_row("Fix", Text(plain_lines(root.fix), style="bold"))
    if root.confirmed_by:
        grid.add_row("Proof", Text(hypothesis_text.confirmation_text(root, diagnosis.hypotheses)))
    if root.diff:
        grid.add_row("Diff", _changed_lines(root.diff))
    return grid


def _changed_lines(diff: str) -> Text:
    """The added and removed lines, without context; the report has the whole diff."""
    styles = {"added": "green", "removed": "red"}
    changed = [(side, line) for side, line in diff_lines(diff) if side in styles]
    shown = Text("\n").join(
        Text(shorten_end(line, 200), style=styles[side])
        for side, line in changed[:MAX_CHANGED_LINES]
    )
    more = len(changed) - MAX_CHANGED_LINES
    return shown.append(f"\n… and {grouped_count(more, 'more line')}") if more > 0 else shown


def _other_findings_block(findings: list[Finding]) -> RenderableType:
    grid = RichTable.grid(padding=(0, 2, 0, 0))
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    for finding in findings[:MAX_FINDINGS]:
        severity = Text(finding.severity, style=SEVERITY_STYLES[finding.severity])
        grid.add_row(severity, _finding_text(finding))
    more = len(findings) - MAX_FINDINGS
    note = [Text(f"… and {grouped_count(more, 'more finding')} in the report")] if more > 0 else []
    return Group(Text("Also found", style="dim"), grid, *note)


def _finding_text(finding: Finding) -> Text:
    """Name and message; for a finding that another one explains, only the name and that one."""
    name = f"{plain(finding.rule)} {shorten_middle(finding.name, 40)}"
    if finding.explained_by:
        return Text.assemble(name, (f" explained by {plain(finding.explained_by)}", "dim"))
    if finding.confirmed_by:
        name += f", confirmed by {plain(finding.confirmed_by)}"
    return Text(f"{name}\n{shorten_end(finding.message, 300)}")


def _experiments_block(hypotheses: Sequence[Hypothesis]) -> RenderableType:
    """The hypotheses that were tested, with their results; the others are counted."""
    tested = [h for h in hypotheses if h.tried]
    inapplicable = sum(h.outcome == "not applicable" for h in hypotheses)
    grid = RichTable.grid(padding=(0, 2, 0, 0))
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    for h in tested[:MAX_HYPOTHESES]:
        text = Text.assemble(
            shorten_end(h.hypothesis, 200), (f"\n{_trial_text(h, hypotheses)}", "dim")
        )
        grid.add_row(Text(h.outcome, style=OUTCOME_STYLES.get(h.outcome, "dim")), text)
    more = {
        "more": len(tested) - MAX_HYPOTHESES,
        "not tested": len(hypotheses) - len(tested) - inapplicable,
        "not applicable": inapplicable,
    }
    notes = [f"{amount} {label}" for label, amount in more.items() if amount > 0]
    note = (
        [Text(f"… and {hypothesis_text.joined_names(notes)} in the report", style="dim")]
        if notes
        else []
    )
    title = "Experiments: mean absolute error, and the effect on R² with its 95 % interval"
    return Group(Text(title, style="dim"), *([grid] if tested else []), *note)


def _trial_text(h: Hypothesis, hypotheses: Sequence[Hypothesis]) -> str:
    """What was changed, the errors before and after, and the effect with its interval."""
    reason = f"; {shorten_end(h.reason, 200)}" if h.outcome == "undecided" else ""
    errors = (
        hypothesis_text.error_change(h)
        if h.mode == "inference"
        else f"error {hypothesis_text.before_and_after(h.error)}"
    )
    change = hypothesis_text.changes_together(h, hypotheses)
    effect = hypothesis_text.effect_with_interval(h)
    seeds, steps = grouped_count(h.seeds, "seed"), grouped_count(h.steps, "step")
    return f"{change}: {errors}, effect {effect}, {h.restored} of {seeds}, {steps}{reason}"


def _closing_line(data: ReportData) -> str:
    diagnosis = data.diagnosis
    parts: list[str] = [data.info.status] if data.info.status in ("interrupted", "failed") else []
    parts += [
        grouped_count(len(diagnosis.findings), "finding") if diagnosis.findings else "no findings"
    ]
    if diagnosis.skipped:
        parts.append(
            f"{grouped_count(len(diagnosis.skipped), 'rule')} could not judge (the report says why)"
        )
    if "total" in diagnosis.timings:
        parts.append(f"{grouped_number(diagnosis.timings['total'])} s")
    return " · ".join(parts)


def _command_tables(data: ReportData) -> Iterator[RenderableType]:
    """The table of the command, if it has one."""
    make_table = _TABLE_OF_COMMAND.get(data.command)
    table = make_table(data) if make_table else None
    if table is not None:
        yield table


def gradients_table(data: ReportData, most: int = MAX_ROWS) -> RenderableType | None:
    """Gradient norms by block, in network order; None if they were not measured."""
    history = data.measured.get(GradientHistory)
    if history is None:
        return None
    return screen_table(tables.gradient_table_by_block(history, data.measured, most), most)


def dtypes_table(data: ReportData, most: int = MAX_ROWS) -> RenderableType | None:
    """Dtypes by kind of layer; None if they were not measured."""
    trace = data.measured.get(DtypeTrace)
    if trace is None:
        return None
    return Group(
        Text(plain(summaries.dtype_summary(trace))),
        screen_table(tables.dtype_table_by_kind(trace), most),
    )


def trainable_table(data: ReportData, most: int = MAX_ROWS) -> RenderableType | None:
    """Trainable flags and what training did, in groups; None if they were not measured."""
    status = data.measured.get(TrainableStatus)
    if status is None:
        return None
    return Group(
        Text(plain(summaries.trainable_summary(status))),
        screen_table(tables.trainable_table_by_flags(status), most),
    )


def held_out_table(data: ReportData, most: int = MAX_ROWS) -> RenderableType | None:
    """Scores of the best checkpoint on held-out images; None if it was not scored."""
    scores = data.measured.get(HeldOutScores)
    if scores is None:
        return None
    table = screen_table(tables.mask_score_table(scores.rows), most)
    return Group(
        Text(summaries.held_out_summary(scores)),
        table,
        Text(f"{summaries.MASK_SCORING}.", style="dim"),
    )


def print_mask_scores(
    scores: Sequence[DatasetScores], stretched: bool = False, console: Console | None = None
) -> None:
    """Print the scores of predicted masks, one row per data set.

    Args:
        scores: the scores of each data set.
        stretched: whether each mask was stretched to the full range 0…255 first.
        console: the console to print on; stdout if None.
    """
    note = f"{summaries.MASK_SCORING}; masks {'' if stretched else 'not '}stretched to 0…255."

    def print_table(console: Console) -> None:
        console.print(screen_table(tables.mask_score_table(scores)), highlight=False)
        console.print(Text(note, style="dim"), highlight=False)

    write_captured(console or Console(highlight=False), print_table)


_TABLE_OF_COMMAND: dict[str, Callable[[ReportData], RenderableType | None]] = {
    "gradients": gradients_table,
    "dtypes": dtypes_table,
    "trainable": trainable_table,
    "train": held_out_table,
}


def screen_table(table: Table, most: int = MAX_ROWS) -> RenderableType:
    """The first ``most`` rows of a table, and how many more rows the report has."""
    screen = RichTable(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
    for index, column in enumerate(table.columns):
        justify: Literal["left", "right"] = "right" if column.is_numeric else "left"
        # On a narrow screen rich shrinks only columns that may wrap: the names in the first column
        # are shortened, the other columns keep their width.
        screen.add_column(column.title, justify=justify, no_wrap=index > 0, overflow="ellipsis")
    for row in table.rows[:most]:
        cells = [column.cell_text(value) for column, value in zip(table.columns, row, strict=True)]
        screen.add_row(*(Text(plain(cell), no_wrap=True, overflow="ellipsis") for cell in cells))
    more = max(len(table.rows) - most, 0) + table.left_out
    note = [Text(f"… and {grouped_count(more, 'more row')} in the report")] if more > 0 else []
    return Group(screen, *note)
