"""What every renderer takes: one run, measured and judged."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from saldiag.core.files.run import Run, RunInfo
from saldiag.core.findings.diagnosis import Diagnosis
from saldiag.core.measurement import Measurements


@dataclass(frozen=True)
class ReportData:
    """A run as renderers see it: the judgement, the numbers behind it, and how they were made."""

    diagnosis: Diagnosis
    measured: Measurements
    info: RunInfo

    @classmethod
    def of_run(cls, path: Path) -> ReportData:
        """Read a run directory, so that it can be drawn again without TensorFlow.

        Raises:
            RunError: there is no run at ``path``, or one of its files cannot be read.
        """
        run = Run.open(path)
        return cls(run.read_diagnosis(), run.read_measurements(), run.read_info())

    @property
    def command(self) -> str:
        """The name of the command that made the run (``overfit``); empty if untold."""
        return self.info.made_by()
