"""The commands that need no model: report, explain."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

from saldiag.app.session.diffs import with_diffs_added
from saldiag.app.session.judging import judge
from saldiag.app.session.settings import RuleChoice, rule_settings, with_rules
from saldiag.core.config import RuleSettings
from saldiag.core.files.fingerprints import read_fingerprints
from saldiag.core.files.run import Run
from saldiag.core.findings.finding import Severity


def report_again(
    path: Path, output_format: str, fail_on: Severity, rules: RuleChoice | None = None
) -> int:
    """``saldiag report RUN``: draw a run again from what it measured and judged.

    With ``rules`` the rules judge anew, by these settings, and ``diagnosis.json`` is replaced.

    Raises:
        RunError: there is no run there, or it cannot be read or written.
        ConfigError: the settings are not valid.
    """
    from saldiag.app.session.output import print_data
    from saldiag_reports.content.data import ReportData
    from saldiag_reports.writer import write_reports

    if rules is not None:
        judge_again(Run.open(path), rule_settings(rules))
    data = ReportData.of_run(path)
    write_reports(data, path)
    print_data([(data, path)], output_format, fail_on)
    return 1 if data.diagnosis.failed(fail_on) else 0


def judge_again(run: Run, settings: RuleSettings) -> None:
    """Judge what a run measured by these settings, and write what comes of it.

    The verdict stays; a run that was killed before it had one gets it from its overfit test.

    Raises:
        RunError: a file of the run cannot be read or written.
    """
    measured, info = run.read_measurements(), run.read_info()
    before = run.read_diagnosis() if run.diagnosis_path.exists() else None
    diagnosis = judge(
        measured,
        settings,
        verdict=before.verdict if before else None,
        reason=before.verdict_reason if before else None,
        timings=before.timings if before else None,
    )
    [diagnosis] = with_diffs_added([(diagnosis, measured)], read_fingerprints(run.path))
    run.write_diagnosis(diagnosis)
    run.write_info(replace(info, config=with_rules(info.config, settings)))


def explain_rule(rule: str, output_format: str) -> int:
    """``saldiag explain SDnnn``: a rule's documentation, from its source.

    Raises:
        SaldiagError: no such rule.
    """
    from saldiag.core.files.jsonio import dumps
    from saldiag.rules.engine.explain import explain, to_text

    explanation = explain(rule)
    sys.stdout.write(
        (dumps(explanation) if output_format == "json" else to_text(explanation)) + "\n"
    )
    return 0
