"""Writes the files of a run and prints its outcome."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from saldiag.core.findings.finding import Severity

if TYPE_CHECKING:
    from saldiag.core.files.run import Run
    from saldiag.core.findings.rule import Rule
    from saldiag_reports.content.data import ReportData
    from saldiag_reports.formats.printed_run import RuleText


def write_outcome(run: Run, data: ReportData) -> None:
    """Write ``diagnosis.json``, ``report.html`` and the TensorBoard events, each atomically."""
    from saldiag_reports.writer import write_reports

    run.write_diagnosis(data.diagnosis)
    write_reports(data, run.path)


def print_data(
    runs: Sequence[tuple[ReportData, Path]], output_format: str, fail_on: Severity
) -> None:
    """Print runs on stdout, all in one document.

    Raises:
        SaldiagError: there is no such format, or it cannot be loaded.
    """
    from saldiag_reports.formats.printed_run import PrintedRun
    from saldiag_reports.formats.registry import load_format

    chosen = load_format(output_format)
    printed = [
        PrintedRun(data, _rule_texts(data) if chosen.needs_rules else (), path)
        for data, path in runs
    ]
    _write_to_stdout(chosen.render(printed, fail_on), chosen.unencodable)


def _write_to_stdout(text: str, unencodable: Callable[[str], str]) -> None:
    """Write ``text``; ``unencodable`` replaces characters that the encoding does not have."""
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    encodable = set(text.encode(encoding, "ignore").decode(encoding))
    replaced = {ord(c): unencodable(c) for c in set(text) - encodable}
    sys.stdout.write(text.translate(replaced))
    sys.stdout.flush()


def _rule_texts(data: ReportData) -> tuple[RuleText, ...]:
    """The documentation of the rules that were selected in a run."""
    rules = _selected_rules(data.info.config.get("rules") or {})
    return tuple(_rule_text(rule) for rule in rules)


def _selected_rules(settings: dict[str, object]) -> list[type[Rule]]:
    """The rules that the settings recorded in ``run.json`` select."""
    from saldiag.core.errors import SaldiagError
    from saldiag.rules.engine.engine import rules_with_limits

    select, ignore = settings.get("select"), settings.get("ignore")
    names = [tuple(v) if isinstance(v, (list, tuple)) else None for v in (select, ignore)]
    try:
        limited = rules_with_limits(names[0], names[1] or ())
    except SaldiagError:  # an old run, whose settings name a rule that no longer exists
        limited = rules_with_limits()
    return [rule for rule, _ in limited]


def _rule_text(rule: type[Rule]) -> RuleText:
    from saldiag.rules.engine.explain import explanation_of, to_text
    from saldiag.rules.engine.registry import family_of
    from saldiag_reports.formats.printed_run import RuleText

    explanation = explanation_of(rule)
    return RuleText(
        code=explanation.code,
        name=explanation.name,
        family=family_of(rule),
        severity=explanation.severity,
        title=explanation.title,
        description=" ".join(explanation.sections.get("What it does", "").split()),
        help=to_text(explanation),
    )
