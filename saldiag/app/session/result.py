"""What a diagnosis from Python is: verdict, findings and measurements, in every form."""

from __future__ import annotations

import platform
import tempfile
import webbrowser
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from saldiag.app.session.collector import Collector
from saldiag.app.session.session import versions
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
    """What was found: verdict, root cause, findings, and all that was measured.

    It prints itself in a terminal, renders in a notebook, and turns into a table of pandas.
    """

    def __init__(self, outcome: Outcome, measured: Measurements, started: str = "") -> None:
        self.outcome = outcome
        self.measured = measured
        self._started = started or utc_now()

    @property
    def verdict(self) -> Verdict:
        """``learns``, ``does_not_learn``, ``inconclusive`` or ``not_tested``."""
        return self.outcome.verdict

    @property
    def findings(self) -> tuple[Finding, ...]:
        """The root cause first, then by severity."""
        return self.outcome.findings

    @property
    def root_cause(self) -> RootCause | None:
        """The finding that no other one explains; None where nothing was found."""
        return self.outcome.root_cause

    @property
    def skipped(self) -> tuple[Skipped, ...]:
        """Rules that could not judge, and why."""
        return self.outcome.skipped

    def failed(self, fail_on: Severity = "error") -> bool:
        """Whether there is a finding at or above ``fail_on``, or nothing is learnt."""
        return self.outcome.failed(fail_on)

    def __str__(self) -> str:
        from saldiag_reports.formats.printed.text import render_text

        return render_text(self._data()).rstrip()

    def __repr__(self) -> str:
        cause = self.root_cause.rule if self.root_cause else "nothing found"
        return f"<Diagnosis {self.outcome.subject.model!r}: {self.verdict}, {cause}>"

    def _repr_html_(self) -> str:
        """A short account for a notebook; what is user text is escaped."""
        from saldiag_reports.formats.notebook import render_snippet

        return render_snippet(self._data())

    def to_frame(self) -> pd.DataFrame:
        """One row a finding: rule, name, severity, layers, message, fix, file, line and more."""
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
            RunError: it holds a run already, or cannot be written.
        """
        from saldiag_reports.writer import write_reports

        run = Run.create("diagnose", Path(directory))
        for measurement in self.measured:
            run.write_measurement(measurement)
        run.write_diagnosis(self.outcome)
        data = self._data()
        write_reports(data, run.path)
        run.write_info(data.info)
        return run.path

    def open(self) -> None:
        """Show the report in a browser."""
        folder = self.save(Path(tempfile.mkdtemp(prefix="saldiag-")) / "run")
        webbrowser.open((folder / "report.html").as_uri())

    def _data(self) -> ReportData:
        from saldiag_reports.content.data import ReportData

        info = RunInfo(
            command=("saldiag", "diagnose"),
            versions=versions() or {"python": platform.python_version()},
            seed=0,
            config={},
            status="finished",
            started=self._started,
            missing=dict(self.measured.missing),
        )
        return ReportData(diagnosis=self.outcome, measured=self.measured, info=info)


def chosen_rules(select: str | Sequence[str] | None, ignore: str | Sequence[str]) -> RuleSettings:
    """Which rules judge: by code, start of a code or name."""
    return RuleSettings(select=None if select is None else listed(select), ignore=listed(ignore))


def judged(collector: Collector, verdict: Verdict | None) -> Diagnosis:
    """What the rules say of what was collected.

    Raises:
        SaldiagError: the collector's settings name what does not exist.
    """
    return Diagnosis(collector.judge(verdict), collector.measured)
