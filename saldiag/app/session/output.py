"""Write and print the outcome."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from saldiag.core.findings.finding import Severity

if TYPE_CHECKING:
    from saldiag.core.files.run import Run
    from saldiag.core.findings.rule import Rule
    from saldiag_reports.content.data import ReportData
    from saldiag_reports.formats.ci import Checked, RuleText


def write_outcome(run: Run, data: ReportData) -> None:
    """Write ``diagnosis.json`` and everything that renderers draw, each whole or not at all."""
    from saldiag_reports.writer import write_reports

    run.write_diagnosis(data.diagnosis)
    write_reports(data, run.path)


def print_data(
    runs: Sequence[tuple[ReportData, Path]], output_format: str, fail_on: Severity
) -> None:
    """Print runs on stdout, all in one document."""
    if output_format == "json":
        from saldiag_reports.formats.json_document import render_json

        sys.stdout.write(render_json(*(data for data, _ in runs)))
    elif output_format == "text":
        from saldiag_reports.formats.text import print_text

        for data, path in runs:
            print_text(data, path)
    else:
        _write(_document([_checked(data) for data, _ in runs], output_format, fail_on))


def _document(checked: Sequence[Checked], output_format: str, fail_on: Severity) -> str:
    """One document, or one list of commands, for all diagnoses."""
    if output_format == "junit":
        from saldiag_reports.formats.junit import render_junit

        return render_junit(checked, fail_on)
    if output_format == "sarif":
        from saldiag_reports.formats.sarif import render_sarif

        return render_sarif(checked)
    from saldiag_reports.formats.github import render_github

    return render_github(checked)


def _write(text: str) -> None:
    """Write on stdout; what its encoding cannot hold becomes ``?``."""
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    sys.stdout.write(text.encode(encoding, "replace").decode(encoding))


def _checked(data: ReportData) -> Checked:
    """A run and the rules that were asked, with their documentation."""
    from saldiag_reports.formats.ci import Checked

    rules = _asked(data.info.config.get("rules") or {})
    return Checked(data, tuple(_rule_text(rule) for rule in rules))


def _asked(settings: dict[str, object]) -> list[type[Rule]]:
    """The rules that a run's recorded settings choose."""
    from saldiag.core.errors import SaldiagError
    from saldiag.rules.engine.engine import rules_with_limits

    select, ignore = settings.get("select"), settings.get("ignore")
    names = [tuple(v) if isinstance(v, (list, tuple)) else None for v in (select, ignore)]
    try:
        chosen = rules_with_limits(names[0], names[1] or ())
    except SaldiagError:  # it is an old run, and names a rule that there is no more
        chosen = rules_with_limits()
    return [rule for rule, _ in chosen]


def _rule_text(rule: type[Rule]) -> RuleText:
    from saldiag.rules.engine.catalogue import family_of
    from saldiag.rules.engine.explain import explanation_of, to_text
    from saldiag_reports.formats.ci import RuleText

    told = explanation_of(rule)
    return RuleText(
        code=told.code,
        name=told.name,
        family=family_of(rule),
        severity=told.severity,
        title=told.title,
        description=" ".join(told.sections.get("What it does", "").split()),
        help=to_text(told),
    )
