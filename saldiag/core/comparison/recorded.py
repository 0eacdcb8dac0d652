"""A run as recorded on disk, finished or not, under a name that no other run has."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from saldiag.core.files.run import Run, RunInfo
from saldiag.core.findings.diagnosis import Diagnosis
from saldiag.core.measurement import (
    DataFacts,
    DtypeTrace,
    GradientHistory,
    Measurements,
    OverfitHistory,
    SourceFiles,
    TrainingHistory,
    TrainingPlan,
    Wiring,
)

READ = (
    Wiring, DtypeTrace, OverfitHistory, TrainingHistory, GradientHistory, TrainingPlan, DataFacts,
    SourceFiles,
)  # fmt: skip
"""The measurements that are compared; the others are evidence of findings."""


@dataclass(frozen=True)
class Recorded:
    """A recorded run."""

    name: str
    """Shortest end of its path that no other run has."""
    path: Path
    """Its directory."""
    info: RunInfo
    """Its ``run.json``."""
    diagnosis: Diagnosis | None
    """Its diagnosis; None if it ended before it was judged."""
    measured: Measurements
    """Its measurements, as far as they are compared."""
    models: tuple[str, ...] = ()
    """Names of its subdirectories with further models of its program."""

    @classmethod
    def read(cls, path: Path, name: str) -> Recorded:
        """Read what is compared of a run.

        Raises:
            RunError: there is no run at ``path``, or it cannot be read.
        """
        run = Run.open(path)
        diagnosis = run.read_diagnosis() if run.diagnosis_path.exists() else None
        models = sorted(found.parent.name for found in path.glob("model-*/run.json"))
        return cls(
            name, path, run.read_info(), diagnosis, run.read_measurements(*READ), tuple(models)
        )

    @property
    def wiring(self) -> Wiring | None:
        """The network, if it was looked at."""
        return self.measured.get(Wiring)

    @property
    def dtypes(self) -> DtypeTrace | None:
        """What it computes in, if that was traced."""
        return self.measured.get(DtypeTrace)

    @property
    def sources(self) -> SourceFiles | None:
        """The program's files, if they were recorded."""
        return self.measured.get(SourceFiles)


def read_runs(paths: Sequence[Path]) -> tuple[Recorded, ...]:
    """Read runs; each gets the shortest end of its path that no other one has.

    Raises:
        RunError: there is no run at a path, or it cannot be read.
    """
    named = zip(paths, names_of(paths), strict=True)
    return tuple(Recorded.read(path, name) for path, name in named)


def names_of(paths: Sequence[Path]) -> list[str]:
    """A name for each path, as short as it can be; of equal paths the later ones are numbered."""
    parts = [path.resolve().parts for path in paths]
    distinct = len(set(parts))
    for length in range(1, max(map(len, parts)) + 1):
        names = ["/".join(part[-length:]) for part in parts]
        if len(set(names)) == distinct:
            break
    return [_numbered(names, index) for index in range(len(names))]


def _numbered(names: Sequence[str], index: int) -> str:
    before = names[:index].count(names[index])
    return f"{names[index]} ({before + 1})" if before else names[index]
