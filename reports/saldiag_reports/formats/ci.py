"""What formats for continuous integration are made of: diagnoses, and the rules behind them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from saldiag.core.findings.finding import Finding, Severity
from saldiag.core.measurement import ProgramPlaces, Source
from saldiag.core.wording import first_names, location, visible_lines, visible_text
from saldiag_reports.content.data import ReportData
from saldiag_reports.content.hypothesis_text import confirmation
from saldiag_reports.content.wording import diff_lines

MAX_LAYERS = 100
"""Layers of a finding that are named one by one; a rule may find thousands."""


@dataclass(frozen=True)
class RuleText:
    """A rule as a document tells of it; ``help`` is its whole documentation as markdown."""

    code: str
    name: str
    family: str
    severity: Severity
    title: str
    description: str
    help: str


@dataclass(frozen=True)
class Checked:
    """One diagnosis, and the rules that were asked: those that could not judge among them."""

    data: ReportData
    rules: tuple[RuleText, ...]

    @property
    def model(self) -> str:
        """The model's name, in characters that can be seen."""
        return visible_text(self.data.diagnosis.subject.model) or "model"

    def of_rule(self, code: str) -> list[Finding]:
        """What one rule found."""
        return [f for f in self.data.diagnosis.findings if f.rule == code]

    def place(self, finding: Finding) -> Source | None:
        """Where an annotation goes: the finding's own line, else the one that trains the model."""
        if finding.source is not None and finding.source.file:
            return finding.source
        program = self.data.measured.get(ProgramPlaces)
        if program is not None and (known := program.trained or program.compiled):
            return known
        script = self.data.info.config.get("script")
        return Source(script, 0) if isinstance(script, str) and script else None

    def proof(self, finding: Finding) -> str:
        """``Confirmed by experiment: …`` with the numbers; empty where nothing confirmed it."""
        proof = confirmation(finding, self.data.diagnosis.hypotheses)
        return f"Confirmed by experiment: {proof}" if proof else ""

    def advice(self, finding: Finding) -> str:
        """What is wrong, what to change, and what proved it."""
        told = (
            visible_lines(finding.message),
            f"Fix: {visible_lines(finding.fix)}",
            self.proof(finding),
        )
        return "\n".join(part for part in told if part)

    def account(self, finding: Finding) -> str:
        """All that a person needs, on several lines: what, where, what next, and the proof."""
        return "\n".join(part for part in (account(finding), self.proof(finding)) if part)


def title(finding: Finding) -> str:
    """``SD101 single-channel-softmax``."""
    return visible_text(f"{finding.rule} {finding.name}")


def account(finding: Finding) -> str:
    """All that a person needs, on several lines: what, where, and what next."""
    return "\n".join(_account(finding))


def _account(finding: Finding) -> Iterator[str]:
    yield f"{visible_text(finding.severity)} {title(finding)}: {visible_lines(finding.message)}"
    if finding.layers:
        yield f"Layers: {visible_text(first_names(finding.layers, 6))}"
    if finding.source is not None and finding.source.file:
        yield f"Source: {visible_text(location(finding.source))}"
        if finding.source.text:
            yield f"    {visible_text(finding.source.text)}"
    yield f"Fix: {visible_lines(finding.fix)}"
    if finding.diff:
        yield "Diff:"
        yield from (f"    {line}" for _, line in diff_lines(finding.diff))
    if finding.explained_by:
        yield f"Explained by {visible_text(finding.explained_by)}"
