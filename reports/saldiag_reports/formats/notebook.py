"""A short account in HTML, for the output cell of a notebook."""

from __future__ import annotations

from html import escape

from saldiag.core.findings.diagnosis import Diagnosis
from saldiag.core.findings.finding import Finding
from saldiag.core.wording import first_names, location, visible_text
from saldiag_reports.content import hypothesis_text
from saldiag_reports.content.data import ReportData
from saldiag_reports.content.wording import headline

COLOURS = {"error": "#b3261e", "warning": "#8a5a00", "info": "#1f5fa8"}


def render_snippet(data: ReportData) -> str:
    """Verdict and findings as a fragment without scripts or styles of its own; text is escaped."""
    diagnosis = data.diagnosis
    told = "".join(f"<p>{_text(sentence)}</p>" for sentence in hypothesis_text.of(data))
    rows = "".join(_row(finding, diagnosis) for finding in diagnosis.findings)
    table = f'<table style="text-align:left">{rows}</table>' if rows else "<p>Nothing found.</p>"
    skipped = f"<p>{len(diagnosis.skipped)} rules could not judge.</p>" if diagnosis.skipped else ""
    return f"<div><p><strong>{_text(headline(diagnosis))}</strong></p>{told}{table}{skipped}</div>"


def _row(finding: Finding, diagnosis: Diagnosis) -> str:
    colour = COLOURS[finding.severity]
    where = f" in {first_names(list(finding.layers))}" if finding.layers else ""
    told = f"<em>explained by {_text(finding.explained_by)}</em>" if finding.explained_by else ""
    source = ""
    if finding.source is not None:
        source = f"<br><code>{_text(location(finding.source))}</code>"
    fix = "" if finding.explained_by else f"<br><code>{_text(finding.fix)}</code>"
    proof = ""
    if finding.confirmed_by:
        confirmed = hypothesis_text.confirmation(finding, diagnosis.hypotheses)
        proof = f"<br>Confirmed by experiment: {_text(confirmed)}"
    return (
        f'<tr><td style="color:{colour};vertical-align:top">{finding.severity}</td>'
        f'<td style="text-align:left"><strong>{_text(finding.rule)} {_text(finding.name)}</strong>'
        f"{_text(where)} {told}<br>{_text(finding.message)}{source}{fix}{proof}</td></tr>"
    )


def _text(text: str) -> str:
    return escape(visible_text(text))
