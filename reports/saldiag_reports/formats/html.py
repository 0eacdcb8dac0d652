"""``report.html``: one file that works offline in any browser."""

from __future__ import annotations

import base64
import hashlib
from functools import cache, partial
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from saldiag.core import wording
from saldiag.core.documentation import rule_url
from saldiag.core.findings.diagnosis import Diagnosis
from saldiag.core.findings.finding import SEVERITIES, Finding
from saldiag_reports import sections
from saldiag_reports.content import hypothesis_text
from saldiag_reports.content import wording as report_wording
from saldiag_reports.content.data import ReportData

MAX_ROWS = 3000
"""Rows of a table on the page; the run's ``measurements`` have the rest."""


def render_html(data: ReportData) -> str:
    """The report as one HTML page: verdict and root cause first, then the evidence.

    The page loads nothing, and its content security policy forbids it to. All texts of the run are
    escaped, control characters included.
    """
    template = template_environment().get_template("report.html.j2")
    script, style = read_asset("sort.js"), read_asset("style.css")
    return template.render(
        data=data,
        diagnosis=data.diagnosis,
        root=data.diagnosis.root_finding(),
        chain=_explanation_chain(data.diagnosis),
        counts=_severity_counts(data.diagnosis),
        sections=sections.report_sections(data),
        missing=sections.missing_sections(data),
        answers=hypothesis_text.run_sentences(data),
        proof=partial(hypothesis_text.confirmation_text, hypotheses=data.diagnosis.hypotheses),
        script=Markup(script),  # noqa: S704 - a file of this package
        style=Markup(style),  # noqa: S704 - a file of this package
        policy=content_security_policy(script),
        max_rows=MAX_ROWS,
    )


@cache
def template_environment() -> Environment:
    """Templates with autoescape; undefined variables are errors, invisible characters escaped."""
    environment = Environment(
        loader=PackageLoader("saldiag_reports"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_escape_invisible,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.globals["w"] = wording
    environment.globals["report_words"] = report_wording
    environment.globals["rule_url"] = rule_url
    return environment


def _escape_invisible(value: Any) -> Any:
    """Escape invisible characters of a text that is inserted into the page."""
    if isinstance(value, Markup) or not isinstance(value, str):
        return value
    return wording.plain_lines(value)


def read_asset(name: str) -> str:
    """The text of a file in the templates' folder."""
    return (files("saldiag_reports") / "templates" / name).read_text(encoding="utf-8")


def content_security_policy(script: str) -> str:
    """A policy that forbids loading anything and running any script but this one."""
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii")
    return (
        f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; "
        f"script-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    )


def _severity_counts(diagnosis: Diagnosis) -> str:
    """``2 errors, 1 warning``."""
    amounts = {s: sum(f.severity == s for f in diagnosis.findings) for s in SEVERITIES}
    texts = {
        "error": wording.grouped_count(amounts["error"], "error"),
        "warning": wording.grouped_count(amounts["warning"], "warning"),
        "info": f"{amounts['info']:,} info",
    }
    counts = [texts[s] for s, amount in amounts.items() if amount]
    return ", ".join(counts) or "none"


def _explanation_chain(diagnosis: Diagnosis) -> list[tuple[int, Finding]]:
    """The root cause and the findings it explains, as (depth, finding), depth first."""
    root = diagnosis.root_finding()
    if root is None:
        return []
    chain: list[tuple[int, Finding]] = []
    stack = [(0, root)]
    seen: set[int] = set()
    while stack:
        depth, finding = stack.pop()
        if id(finding) in seen:  # two rules may explain each other
            continue
        seen.add(id(finding))
        chain.append((depth, finding))
        explained = report_wording.findings_explained_by(diagnosis, finding.rule)
        stack += [(depth + 1, child) for child in reversed(explained)]
    return chain
