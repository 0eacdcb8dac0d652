"""Runs to compare, from plain numbers."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from saldiag.core.comparison import Recorded
from saldiag.core.files.run import Run, RunInfo
from saldiag.core.files.sources import digest
from saldiag.core.findings.diagnosis import Diagnosis, RootCause, SubjectSummary
from saldiag.core.findings.finding import Finding, Skipped
from saldiag.core.measurement import (
    LayerCall,
    Measurement,
    Measurements,
    SourceFile,
    SourceFiles,
    Wiring,
)
from saldiag_reports.content.data import ReportData
from saldiag_reports.gallery import runs


def call(path: str, kind: str = "Dense", units: int = 4, **more: Any) -> LayerCall:
    """A leaf call after the model's input."""
    fields = {"inputs": ("",), "config": {"units": units}, "parameters": units * 2} | more
    return LayerCall(
        path, path.partition("#")[0], kind, 1, True, input_shapes=((None, 2),),
        output_shapes=((None, units),), **fields,
    )  # fmt: skip


def wiring(*calls: LayerCall, **more: Any) -> Wiring:
    """A network of these calls."""
    fields = {"loss": "mse", "optimizer": "Adam", "learning_rate": 1e-3} | more
    return Wiring(
        model="m", calls=calls, outputs=(), loss_config={}, precision="float32",
        loss_scaled=False, parameters=1, trainable_parameters=1, **fields,
    )  # fmt: skip


def chain(*named: tuple[str, str, int]) -> Wiring:
    """Layers one after the other, as (name, class, units)."""
    before = [("",), *((name,) for name, _, _ in named)]
    return wiring(*(call(*layer, inputs=b) for layer, b in zip(named, before, strict=False)))


def diagnosis(*findings: Finding, skipped: tuple[str, ...] = (), root: bool = False) -> Diagnosis:
    """What was found; the first is the root cause if there is one."""
    first = findings[0] if root else None
    cause = RootCause(first.rule, first.name, first.layers, None) if first else None
    return Diagnosis(
        SubjectSummary("m", "mse", 1, 1), "not_tested", cause, findings,
        tuple(Skipped(rule, "cannot tell") for rule in skipped),
    )  # fmt: skip


def sources(**files: str) -> SourceFiles:
    """Python files by their stem."""
    return SourceFiles(
        tuple(
            SourceFile(f"{stem}.py", digest(text.encode()), len(text.encode()), text)
            for stem, text in files.items()
        )
    )


def run(
    name: str = "a",
    *measured: Measurement,
    judged: Diagnosis | None = None,
    status: Any = "finished",
    **config: Any,
) -> Recorded:
    """A run with these measurements, in a directory of its name."""
    info = RunInfo(("saldiag", "overfit"), {"keras": "3.15.0"}, 0, config, status)
    judged = diagnosis() if judged is None else judged
    return Recorded(name, Path(name), info, judged, Measurements.of(*measured))


def of_report(name: str, data: ReportData) -> Recorded:
    """A run of the gallery."""
    return Recorded(name, Path(name), data.info, data.diagnosis, data.measured)


def case() -> tuple[Recorded, Recorded]:
    """The case, and the network that learns, each with its program."""
    one, two = runs.broken_run(), runs.learning_run()
    before = sources(train='head = "softmax"\nfit()\n', data="x = 1\n")
    after = sources(train='head = "sigmoid"\nfit()\n', data="x = 1\n")
    one = dataclasses.replace(one, measured=one.measured.with_(before))
    two = dataclasses.replace(two, measured=two.measured.with_(after))
    return of_report("broken", one), of_report("fixed", two)


def written(recorded: Recorded | ReportData, path: Path) -> Path:
    """The run as a directory at ``path``."""
    made = Run.create("overfit", path)
    made.write_info(recorded.info)
    for measurement in recorded.measured:
        made.write_measurement(measurement)
    if recorded.diagnosis is not None:
        made.write_diagnosis(recorded.diagnosis)
    return path
