"""A short HTML summary for the output cell of a notebook."""

from __future__ import annotations

from html import escape

from saldiag.core.findings.diagnosis import Diagnosis
from saldiag.core.findings.finding import Finding
from saldiag.core.wording import file_and_line, grouped_count, listed_names, plain
from saldiag_reports.content import hypothesis_text
from saldiag_reports.content.data import ReportData
from saldiag_reports.content.wording import verdict_headline

SEVERITY_COLOURS = {"error": "#b3261e", "warning": "#8a5a00", "info": "#1f5fa8"}
"""CSS colour of each severity."""


def render_snippet(data: ReportData) -> str:
    """Verdict and findings as an HTML fragment without scripts; all texts are escaped."""
    diagnosis = data.diagnosis
    headline = _escaped_text(verdict_headline(diagnosis))
    sentences = "".join(
        f"<p>{_escaped_text(sentence)}</p>" for sentence in hypothesis_text.run_sentences(data)
    )
    rows = "".join(_finding_row(finding, diagnosis) for finding in diagnosis.findings)
    table = f'<table style="text-align:left">{rows}</table>' if rows else "<p>No findings.</p>"
    amount = len(diagnosis.skipped)
    skipped = f"<p>{grouped_count(amount, 'rule')} could not judge.</p>" if amount else ""
    return f"<div><p><strong>{headline}</strong></p>{sentences}{table}{skipped}</div>"


def _finding_row(finding: Finding, diagnosis: Diagnosis) -> str:
    colour = SEVERITY_COLOURS[finding.severity]
    title = f"{_escaped_text(finding.rule)} {_escaped_text(finding.name)}"
    where = f" in {listed_names(list(finding.layers))}" if finding.layers else ""
    explained = (
        f"<em>explained by {_escaped_text(finding.explained_by)}</em>"
        if finding.explained_by
        else ""
    )
    source = ""
    if finding.source is not None:
        source = f"<br><code>{_escaped_text(file_and_line(finding.source))}</code>"
    fix = "" if finding.explained_by else f"<br><code>{_escaped_text(finding.fix)}</code>"
    proof = ""
    if finding.confirmed_by:
        confirmed = hypothesis_text.confirmation_text(finding, diagnosis.hypotheses)
        proof = f"<br>Confirmed by experiment: {_escaped_text(confirmed)}"
    return (
        f'<tr><td style="color:{colour};vertical-align:top">{finding.severity}</td>'
        f'<td style="text-align:left"><strong>{title}</strong>{_escaped_text(where)} {explained}'
        f"<br>{_escaped_text(finding.message)}{source}{fix}{proof}</td></tr>"
    )


def _escaped_text(text: str) -> str:
    return escape(plain(text))
