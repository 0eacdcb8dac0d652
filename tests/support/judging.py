"""Run rules over the healthy model with something changed."""

from __future__ import annotations

from typing import Any

from saldiag.core.findings.diagnosis import Diagnosis
from saldiag.core.findings.finding import Finding
from saldiag.core.measurement import LayerCall, Measurement, Measurements, Wiring
from saldiag.rules.engine.engine import diagnose
from tests.support.measurements import CALLS, call, healthy, wiring


def run(measured: Measurements, *codes: str) -> Diagnosis:
    return diagnose(measured, verdict="not_tested", select=codes)


def found(code: str, *changed: Measurement) -> list[Finding]:
    return list(run(healthy(*changed), code).findings)


def one(code: str, *changed: Measurement) -> Finding:
    (finding,) = found(code, *changed)
    return finding


def skipped(code: str, *changed: Measurement) -> str:
    (entry,) = run(healthy(*changed), code).skipped
    return entry.reason


def head(activation: str | None, *behind: LayerCall, **fields: Any) -> Wiring:
    calls = (*CALLS[:-1], call("output", "Activation", "head", activation=activation), *behind)
    return wiring(*calls, **fields)
