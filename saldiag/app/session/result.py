"""The result of the Python API: verdict, findings and measurements, printed, as HTML or a table."""

from __future__ import annotations

import platform
import tempfile
import webbrowser
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from saldiag.app.session.collector import Collector
from saldiag.app.session.session import package_versions
from saldiag.core.config import RuleSettings, listed
from saldiag.core.files.run import Run, RunInfo, utc_now
from saldiag.core.findings.diagnosis import Diagnosis as Outcome
from saldiag.core.findings.diagnosis import RootCause, Verdict
from saldiag.core.findings.finding import Finding, Severity, Skipped
from saldiag.core.measurement import Measurements

if TYPE_CHECKING:
    import pandas as pd

    from saldiag_reports.content.data import ReportData


class Diagnosis:
    """A diagnosis: verdict, root cause, findings and measurements.

    ``print`` shows it in a terminal, a notebook renders it, ``to_frame`` makes a pandas table.

    Args:
        outcome: verdict and findings as the rules made them.
        measured: the measurements, and why others are missing.
        started: start of the diagnosis, UTC in ISO 8601; empty for now.
    """

    def __init__(self, outcome: Outcome, measured: Measurements, started: str = "") -> None:
        self.outcome = outcome
        """The diagnosis as it is written to ``diagnosis.json``."""
        self.measured = measured
        """The measurements, and why others are missing."""
        self._started = started or utc_now()

    @property
    def verdict(self) -> Verdict:
        """``learns``, ``does_not_learn``, ``inconclusive`` or ``not_tested``."""
        return self.outcome.verdict

    @property
    def findings(self) -> tuple[Finding, ...]:
        """The findings, the root cause first, then by severity."""
        return self.outcome.findings

    @property
    def root_cause(self) -> RootCause | None:
        """The finding that no other finding explains; None if there are no findings."""
        return self.outcome.root_cause

    @property
    def skipped(self) -> tuple[Skipped, ...]:
        """Rules that could not judge, with the reason."""
        return self.outcome.skipped

    def failed(self, fail_on: Severity = "error") -> bool:
        """Whether a finding has at least severity ``fail_on``, or the model does not learn."""
        return self.outcome.failed(fail_on)

    def __str__(self) -> str:
        from saldiag_reports.formats.printed.text import render_text

        return render_text(self._report_data()).rstrip()

    def __repr__(self) -> str:
        cause = self.root_cause.rule if self.root_cause else "nothing found"
        return f"<Diagnosis {self.outcome.subject.model!r}: {self.verdict}, {cause}>"

    def _repr_html_(self) -> str:
        """A short HTML summary for notebooks; text of the user is escaped."""
        from saldiag_reports.formats.notebook import render_snippet

        return render_snippet(self._report_data())

    def to_frame(self) -> pd.DataFrame:
        """One row for each finding.

        Columns: rule, name, severity, confidence, layers, message, fix, file, line, explained_by.
        """
        import pandas as pd

        columns = ["rule", "name", "severity", "confidence", "layers", "message", "fix", "file"]
        columns += ["line", "explained_by"]
        rows = [
            {
                **{name: getattr(f, name) for name in columns if hasattr(f, name)},
                "layers": ", ".join(f.layers),
                "file": f.source.file if f.source else None,
                "line": f.source.line if f.source else None,
            }
            for f in self.findings
        ]
        return pd.DataFrame(rows, columns=columns)

    def save(self, directory: str | Path) -> Path:
        """Write a run directory with the report; returns its path.

        Raises:
            RunError: the directory holds a run already, or cannot be written.
        """
        from saldiag_reports.writer import write_reports

        run = Run.create("diagnose", Path(directory))
        for measurement in self.measured:
            run.write_measurement(measurement)
        run.write_diagnosis(self.outcome)
        data = self._report_data()
        write_reports(data, run.path)
        run.write_info(data.info)
        return run.path

    def open(self) -> None:
        """Write the report to a temporary directory and show it in a browser.

        Raises:
            RunError: the report cannot be written.
        """
        folder = self.save(Path(tempfile.mkdtemp(prefix="saldiag-")) / "run")
        webbrowser.open((folder / "report.html").as_uri())

    def _report_data(self) -> ReportData:
        from saldiag_reports.content.data import ReportData

        info = RunInfo(
            command=("saldiag", "diagnose"),
            versions=package_versions() or {"python": platform.python_version()},
            seed=0,
            config={},
            status="finished",
            started=self._started,
            missing=dict(self.measured.missing),
        )
        return ReportData(diagnosis=self.outcome, measured=self.measured, info=info)


def parse_rule_choice(
    select: str | Sequence[str] | None, ignore: str | Sequence[str]
) -> RuleSettings:
    """The rules that judge, from the arguments ``select`` and ``ignore`` of the Python API.

    Args:
        select: codes, prefixes of codes or names; None for all rules.
        ignore: rules that do not judge, likewise.
    """
    return RuleSettings(select=None if select is None else listed(select), ignore=listed(ignore))


def diagnose_collected(collector: Collector, verdict: Verdict | None) -> Diagnosis:
    """Run the rules on what was collected.

    Args:
        collector: the measurements and the rules that judge.
        verdict: None for the verdict of the overfit test or of the training curves.

    Raises:
        SaldiagError: the collector's settings name a rule or threshold that does not exist.
    """
    return Diagnosis(collector.judge(verdict), collector.measured)
