"""What must not change the root cause: names, the order of branches, the scale of the loss."""

from __future__ import annotations

import dataclasses
import importlib
import pkgutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from saldiag.app.session.judging import judge
from saldiag.core.findings.diagnosis import Diagnosis
from saldiag.core.measurement import (
    DataFacts,
    GradientFlow,
    GradientHistory,
    LossCheck,
    Measurements,
    OverfitHistory,
    TrainingHistory,
    ValidationCheck,
    Wiring,
)
from tests import faults

FAULTS = {
    module.name: importlib.import_module(f"tests.faults.{module.name}")
    for module in pkgutil.iter_modules(faults.__path__)
    if module.name.startswith("sd")
}
every_fault = pytest.mark.parametrize("fault", FAULTS)
PATHS = {
    "path", "layer", "inputs", "outputs", "judged", "computed", "layers", "before", "behind", "fed",
    "repeats", "active", "equal_seeds",
}  # fmt: skip
"""Fields that hold layer paths, where their text is made of layer names."""


def broken(fault: str) -> Measurements:
    measured: Measurements = FAULTS[fault].broken()
    return measured


def outcome(diagnosis: Diagnosis) -> list[tuple[str, str, str | None]]:
    """What was found, without the words for it."""
    return sorted((f.rule, f.severity, f.explained_by or "") for f in diagnosis.findings)


def segments(measured: Measurements) -> list[str]:
    """All layer names there are."""
    wiring = measured.get(Wiring)
    paths = [call.layer for call in wiring.calls] if wiring else []
    return sorted({name for path in paths for name in path.split("/") if name})


def renamed(value: Any, names: dict[str, str], field: str = "") -> Any:
    """``value`` with layer names exchanged wherever a field holds a path."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        changed = {
            f.name: renamed(getattr(value, f.name), names, f.name)
            for f in dataclasses.fields(value)
        }
        return type(value)(**changed)
    if isinstance(value, tuple):
        return tuple(renamed(item, names, field) for item in value)
    if isinstance(value, dict) and field == "found":
        return {key: renamed(item, names) for key, item in value.items()}
    return rename(value, names) if isinstance(value, str) and field in PATHS else value


def rename(path: str, names: dict[str, str]) -> str:
    def one(segment: str) -> str:
        name, mark, number = segment.partition("#")
        return names.get(name, name) + mark + number

    return "/".join(one(segment) for segment in path.split("/"))


LETTERS = st.characters(exclude_characters="/#", exclude_categories=("C", "Z"))


@every_fault
@settings(max_examples=12)
@given(data=st.data())
def test_renaming_layers_changes_nothing_but_names(fault: str, data: st.DataObject) -> None:
    measured = broken(fault)
    old = segments(measured)
    new = data.draw(
        st.lists(st.text(LETTERS, min_size=1, max_size=12), min_size=len(old), max_size=len(old),
                 unique=True)
    )  # fmt: skip
    names = dict(zip(old, new, strict=True))
    before, after = judge(measured), judge(renamed(measured, names))
    assert outcome(after) == outcome(before)
    if before.root_cause:
        assert after.root_cause
        assert after.root_cause.layers == tuple(rename(p, names) for p in before.root_cause.layers)


def reordered(measured: Measurements, rank: Callable[[str], float]) -> Measurements:
    """Branches in another order: calls run as soon as their inputs are there, least rank first."""
    wiring = measured.get(Wiring)
    if wiring is None:
        return measured
    waiting = {call.path: call for call in wiring.calls}
    order: list[str] = []
    while waiting:
        ready = [c for c in waiting.values() if not any(i in waiting for i in c.inputs)] or [
            next(iter(waiting.values()))
        ]
        chosen = min(ready, key=lambda call: rank(call.path))
        order.append(chosen.path)
        del waiting[chosen.path]
    calls = {call.path: call for call in wiring.calls}
    place = {path: index for index, path in enumerate(order)}
    changed: list[Any] = [
        replace(wiring, calls=tuple(
            replace(calls[path], inputs=tuple(sorted(calls[path].inputs, key=rank)))
            for path in order
        ))
    ]  # fmt: skip
    for measurement in measured:
        rows = getattr(measurement, "rows", None)
        if rows and not isinstance(measurement, Wiring) and all(hasattr(r, "path") for r in rows):
            in_order = sorted(rows, key=lambda row: place.get(row.path, len(place)))
            changed.append(replace(measurement, rows=tuple(in_order)))  # type: ignore[type-var]
    return measured.with_(*changed)


@every_fault
@settings(max_examples=12)
@given(seed=st.integers(0, 2**16))
def test_the_order_of_branches_does_not_matter(fault: str, seed: int) -> None:
    measured = broken(fault)
    ranks = _ranks(measured, seed)
    before, after = judge(measured), judge(reordered(measured, lambda path: ranks.get(path, 0.0)))
    assert outcome(after) == outcome(before)


def _ranks(measured: Measurements, seed: int) -> dict[str, float]:
    wiring = measured.get(Wiring)
    paths = [call.path for call in wiring.calls] if wiring else []
    return dict(zip(paths, np.random.default_rng(seed).random(len(paths)), strict=True))


def scaled(measured: Measurements, factor: float) -> Measurements:
    """What would have been measured with the loss times ``factor``, under Adam."""
    changed: list[Any] = [
        _times(measured.get(kind), fields, factor)
        for kind, fields in {
            GradientHistory: ("norm", "mean", "maximum", "loss"),
            OverfitHistory: (
                "loss", "training_error", "inference_error", "recalibrated_error",
                "baseline_constant", "baseline_independent", "validation_error",
            ),
            LossCheck: (
                "reported", "recomputed", "regularization", "reported_training",
                "recomputed_training", "in_order", "rolled",
            ),
            GradientFlow: ("loss",),
            TrainingHistory: ("values",),
            ValidationCheck: (
                "inference", "training", "reestimated", "train_inference", "train_training",
                "train_reestimated", "item_errors", "reestimated_item_errors",
                "train_item_errors", "single", "averaged",
            ),
        }.items()
        if measured.get(kind) is not None
    ]  # fmt: skip
    wiring = measured.get(Wiring)
    if wiring is not None:
        changed.append(replace(wiring, loss_weights=(factor,)))
    facts, flow = (
        measured.get(DataFacts),
        next((m for m in changed if isinstance(m, GradientFlow)), None),
    )
    if flow is not None:
        changed.append(replace(
            flow,
            rows=tuple(_times(r, ("output_gradient", "input_gradient"), factor) for r in flow.rows),
            variables=tuple(_times(v, ("norm",), factor) for v in flow.variables),
        ))  # fmt: skip
    check = next((m for m in changed if isinstance(m, ValidationCheck)), None)
    if check is not None:
        corrections = tuple(_times(c, ("error",), factor) for c in check.corrections)
        changed.append(replace(check, corrections=corrections))
    if facts is not None and facts.baselines is not None:
        baselines = _times(facts.baselines, ("constant", "independent"), factor)
        changed.append(replace(facts, baselines=baselines))
    return measured.with_(*changed)


def _times(value: Any, fields: Sequence[str], factor: float) -> Any:
    changed = {name: getattr(value, name) for name in fields}
    return replace(value, **{n: v * factor for n, v in changed.items() if v is not None})


ABSOLUTE = {
    "sd206": "float16 has an absolute lower end",
    "sd502": "float16 has an absolute lower end",
}
"""Faults that a scale of the loss really mends or makes."""


@every_fault
@settings(max_examples=12)
@given(exponent=st.integers(-3, 3))
def test_the_scale_of_the_loss_under_adam_does_not_matter(fault: str, exponent: int) -> None:
    if fault[:5] in ABSOLUTE:
        pytest.skip(ABSOLUTE[fault[:5]])
    measured = broken(fault)
    after, before = judge(scaled(measured, 10.0**exponent)), judge(measured)
    assert after.root_cause == before.root_cause or (
        after.root_cause and before.root_cause and after.root_cause.rule == before.root_cause.rule
    )
