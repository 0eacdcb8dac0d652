"""``report.html``: one offline file that needs nothing but a browser."""

from __future__ import annotations

import base64
import hashlib
from functools import cache, partial
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from saldiag.core.documentation import rule_url
from saldiag.core.findings.diagnosis import Diagnosis
from saldiag.core.findings.finding import SEVERITIES, Finding
from saldiag_reports import sections
from saldiag_reports.content import hypothesis_text, wording
from saldiag_reports.content.data import ReportData

MAX_ROWS = 3000
"""Rows of a table in the page; the rest stays in the run's ``measurements``."""


def render_html(data: ReportData) -> str:
    """The whole report as one HTML page: verdict and root cause first, then the evidence.

    The page refers to nothing outside itself, and its content security policy keeps it so. Every
    text of the run is escaped, and its control characters are spelt out.
    """
    template = environment().get_template("report.html.j2")
    script, style = asset("sort.js"), asset("style.css")
    return template.render(
        data=data,
        diagnosis=data.diagnosis,
        root=data.diagnosis.root_finding(),
        chain=_chain(data.diagnosis),
        counts=_counts(data.diagnosis),
        sections=sections.sections(data),
        missing=sections.missing(data),
        answers=hypothesis_text.of(data),
        proof=partial(hypothesis_text.confirmation, found=data.diagnosis.hypotheses),
        script=Markup(script),  # noqa: S704 - a file of this package
        style=Markup(style),  # noqa: S704 - a file of this package
        policy=policy(script),
        max_rows=MAX_ROWS,
    )


@cache
def environment() -> Environment:
    """Templates that escape, refuse what is not defined, and spell out what cannot be seen."""
    environment = Environment(
        loader=PackageLoader("saldiag_reports"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_final,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.globals["w"] = wording
    environment.globals["rule_url"] = rule_url
    return environment


def _final(value: Any) -> Any:
    """The gate that each value passes on its way into the page, before it is escaped."""
    if isinstance(value, Markup) or not isinstance(value, str):
        return value
    return wording.lines(value)


def asset(name: str) -> str:
    """A file beside the templates, as text."""
    return (files("saldiag_reports") / "templates" / name).read_text(encoding="utf-8")


def policy(script: str) -> str:
    """Nothing may be loaded; only this very script may run."""
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii")
    return (
        f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; "
        f"script-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    )


def _counts(diagnosis: Diagnosis) -> str:
    """``2 errors, 1 warning``."""
    amounts = {s: sum(f.severity == s for f in diagnosis.findings) for s in SEVERITIES}
    nouns = {"error": "error", "warning": "warning", "info": "remark"}
    told = [wording.count(amount, nouns[s]) for s, amount in amounts.items() if amount]
    return ", ".join(told) or "nothing found"


def _chain(diagnosis: Diagnosis) -> list[tuple[int, Finding]]:
    """The root cause and what it explains, as (depth, finding), depth first."""
    root = diagnosis.root_finding()
    if root is None:
        return []
    chain: list[tuple[int, Finding]] = []
    waiting = [(0, root)]
    seen: set[int] = set()
    while waiting:
        depth, finding = waiting.pop()
        if id(finding) in seen:  # two rules that explain each other are not followed in a circle
            continue
        seen.add(id(finding))
        chain.append((depth, finding))
        explained = wording.children(diagnosis, finding.rule)
        waiting += [(depth + 1, child) for child in reversed(explained)]
    return chain
