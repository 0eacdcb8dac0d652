"""The commands that need no model: report, explain."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

from saldiag.app.session.judging import judge
from saldiag.app.session.settings import RuleChoice, config_with_rules, rule_settings
from saldiag.core.config import RuleSettings
from saldiag.core.files.fingerprints import read_fingerprints
from saldiag.core.files.run import Run
from saldiag.core.findings.finding import Severity
from saldiag.progress import startup
from saldiag.repair.findings import with_diffs


def report_again(
    path: Path, output_format: str, fail_on: Severity, rules: RuleChoice | None = None
) -> int:
    """``saldiag report RUN``: render a recorded run again; returns the exit code.

    Args:
        path: the run directory.
        output_format: what to print, one of ``CHECK_FORMATS``.
        fail_on: least severity of a finding for exit code 1.
        rules: run the rules again with this choice, and replace ``diagnosis.json``; None to keep
            the recorded diagnosis.

    Raises:
        RunError: there is no run at ``path``, or it cannot be read or written.
        ConfigError: the settings file is not valid.
        SaldiagError: ``rules`` names a rule that does not exist.
    """
    from saldiag.app.session.output import print_data
    from saldiag_reports.content.data import ReportData
    from saldiag_reports.writer import write_reports

    if rules is not None:
        judge_again(Run.open(path), rule_settings(rules))
    data = ReportData.of_run(path)
    with startup("writing the report"):
        write_reports(data, path)
    print_data([(data, path)], output_format, fail_on)
    return 1 if data.diagnosis.failed(fail_on) else 0


def judge_again(run: Run, settings: RuleSettings) -> None:
    """Run the rules on a run's measurements with these settings, and write the diagnosis.

    The verdict stays. A run that was killed before it had a verdict gets it from its measurements.

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
    [diagnosis] = with_diffs([(diagnosis, measured)], read_fingerprints(run.path))
    run.write_diagnosis(diagnosis)
    run.write_info(replace(info, config=config_with_rules(info.config, settings)))


def explain_rule(rule: str, output_format: str) -> int:
    """``saldiag explain SDnnn``: print the documentation of a rule; returns exit code 0.

    Args:
        rule: code or name of the rule.
        output_format: ``text`` or ``json``.

    Raises:
        SaldiagError: there is no such rule.
    """
    from saldiag.core.files.jsonio import dumps
    from saldiag.rules.engine.explain import explain, to_text

    explanation = explain(rule)
    sys.stdout.write(
        (dumps(explanation) if output_format == "json" else to_text(explanation)) + "\n"
    )
    return 0
