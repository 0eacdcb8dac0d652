"""The input of every renderer: one run with its measurements and its diagnosis."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from saldiag.core.files.run import Run, RunInfo
from saldiag.core.findings.diagnosis import Diagnosis
from saldiag.core.measurement import Measurements


@dataclass(frozen=True)
class ReportData:
    """One run."""

    diagnosis: Diagnosis
    """Verdict, root cause and findings."""
    measured: Measurements
    """The measurements behind them, and the reasons for missing ones."""
    info: RunInfo
    """How the run was made: command line, versions, seed, settings, status."""

    @classmethod
    def of_run(cls, path: Path) -> ReportData:
        """Read a run directory. Needs no TensorFlow.

        Raises:
            RunError: ``path`` is not a run directory, or one of its files cannot be read.
        """
        run = Run.open(path)
        return cls(run.read_diagnosis(), run.read_measurements(), run.read_info())

    @property
    def command(self) -> str:
        """Name of the command that made the run, such as ``overfit``; empty if not recorded."""
        return self.info.made_by()
