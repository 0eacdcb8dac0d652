"""The commands that need no model: report, explain."""

from __future__ import annotations

import sys
from pathlib import Path

from saldiag.core.finding import Severity


def report_again(path: Path, output_format: str, fail_on: Severity) -> int:
    """``saldiag report RUN``: draw a run again from what it measured and judged.

    Raises:
        RunError: there is no run there, or it cannot be read or written.
    """
    from saldiag_reports.data import ReportData
    from saldiag_reports.json_report import render_json
    from saldiag_reports.reporter import write_reports
    from saldiag_reports.text import print_text

    data = ReportData.of_run(path)
    write_reports(data, path)
    if output_format == "json":
        sys.stdout.write(render_json(data))
    else:
        print_text(data, path)
    return 1 if data.diagnosis.failed(fail_on) else 0


def explain_rule(rule: str, output_format: str) -> int:
    """``saldiag explain SDnnn``: a rule's documentation, from its source.

    Raises:
        SaldiagError: no such rule.
    """
    from saldiag.core.jsonio import dumps
    from saldiag.rules.explain import explain, to_text

    explanation = explain(rule)
    sys.stdout.write(
        (dumps(explanation) if output_format == "json" else to_text(explanation)) + "\n"
    )
    return 0
