"""A printed format and what it renders: judged runs, the rules behind them, texts of findings."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from saldiag.core.findings.finding import Finding, Severity
from saldiag.core.measurement import ProgramPlaces, Source
from saldiag.core.wording import file_and_line, listed_names, plain, plain_lines
from saldiag_reports.content.data import ReportData
from saldiag_reports.content.hypothesis_text import confirmation_text
from saldiag_reports.content.wording import diff_lines

MAX_LISTED_LAYERS = 100
"""Layers of a finding that are listed one by one; a rule may find thousands."""


@dataclass(frozen=True)
class RuleText:
    """The documentation of a rule."""

    code: str
    """Such as ``SD101``."""
    name: str
    """Such as ``single-channel-softmax``."""
    family: str
    """Such as ``wiring``."""
    severity: Severity
    """The severity that the rule's findings have by default."""
    title: str
    """One sentence on what is wrong."""
    description: str
    """One paragraph on what the rule does; empty if there is none."""
    help: str
    """The whole documentation as Markdown."""


@dataclass(frozen=True)
class PrintedRun:
    """One judged run."""

    data: ReportData
    """The diagnosis, the measurements, and how the run was made."""
    rules: tuple[RuleText, ...] = ()
    """The rules that were selected, those that could not judge included; empty for formats that
    do not need them."""
    path: Path | None = None
    """The run directory; None if there is none."""

    @property
    def model_name(self) -> str:
        """The model's name, with invisible characters escaped; ``model`` if it is empty."""
        return plain(self.data.diagnosis.subject.model) or "model"

    def findings_of(self, code: str) -> list[Finding]:
        """The findings of the rule with that code."""
        return [f for f in self.data.diagnosis.findings if f.rule == code]

    def annotated_line(self, finding: Finding) -> Source | None:
        """The line to annotate: the finding's own, else the one that trains the model.

        Line 0 means the whole file. None if no file is known.
        """
        if finding.source is not None and finding.source.file:
            return finding.source
        program = self.data.measured.get(ProgramPlaces)
        if program is not None and (known := program.trained or program.compiled):
            return known
        script = self.data.info.config.get("script")
        return Source(script, 0) if isinstance(script, str) and script else None

    def proof_text(self, finding: Finding) -> str:
        """``Confirmed by experiment: …`` with the numbers; empty if no experiment confirmed it."""
        proof = confirmation_text(finding, self.data.diagnosis.hypotheses)
        return f"Confirmed by experiment: {proof}" if proof else ""

    def message_and_fix(self, finding: Finding) -> str:
        """What is wrong, what to change, and what confirmed it, a line each."""
        parts = (
            plain_lines(finding.message),
            f"Fix: {plain_lines(finding.fix)}",
            self.proof_text(finding),
        )
        return "\n".join(part for part in parts if part)

    def full_text(self, finding: Finding) -> str:
        """``finding_text`` and what confirmed the finding."""
        parts = (finding_text(finding), self.proof_text(finding))
        return "\n".join(part for part in parts if part)


def _question_mark(_: str) -> str:
    return "?"


def json_escape(character: str) -> str:
    """A character as JSON strings escape it: ``u2026`` behind a backslash."""
    return json.dumps(character)[1:-1]


@dataclass(frozen=True)
class PrintedFormat:
    """A format that runs can be printed in, declared by its module as ``FORMAT``."""

    help: str
    """What the format is for, in one line."""
    render: Callable[[Sequence[PrintedRun], Severity], str]
    """Makes one text of all runs; the severity is that of ``--fail-on``."""
    needs_rules: bool = False
    """Whether ``render`` reads ``PrintedRun.rules``; they are empty otherwise."""
    unencodable: Callable[[str], str] = _question_mark
    """What to print for a character that the encoding of stdout does not have."""


def finding_title(finding: Finding) -> str:
    """``SD101 single-channel-softmax``."""
    return plain(f"{finding.rule} {finding.name}")


def finding_text(finding: Finding) -> str:
    """All about a finding on several lines: message, layers, source, fix and diff."""
    return "\n".join(_lines_of_finding(finding))


def _lines_of_finding(finding: Finding) -> Iterator[str]:
    yield f"{plain(finding.severity)} {finding_title(finding)}: {plain_lines(finding.message)}"
    if finding.layers:
        yield f"Layers: {plain(listed_names(finding.layers, 6))}"
    if finding.source is not None and finding.source.file:
        yield f"Source: {plain(file_and_line(finding.source))}"
        if finding.source.text:
            yield f"    {plain(finding.source.text)}"
    yield f"Fix: {plain_lines(finding.fix)}"
    if finding.diff:
        yield "Diff:"
        yield from (f"    {line}" for _, line in diff_lines(finding.diff))
    if finding.explained_by:
        yield f"Explained by {plain(finding.explained_by)}"
