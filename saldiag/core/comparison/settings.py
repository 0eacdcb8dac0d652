"""Settings and results of a run by name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from saldiag.core.comparison.recorded import Recorded
from saldiag.core.comparison.rows import flat
from saldiag.core.findings.diagnosis import RootCause
from saldiag.core.measurement import (
    DataFacts,
    GradientHistory,
    OverfitHistory,
    TensorFacts,
    TrainingHistory,
    TrainingPlan,
    Wiring,
)

WITHOUT_EFFECT = {"out", "output_format", "fail_on", "resume", "seed"}
"""Options that change what is shown or where, not what is measured; the seed has its own row."""

Facts = dict[str, Any]


def options(run: Recorded) -> Facts:
    """The command, the seed and the effective options."""
    given = {name: value for name, value in run.info.config.items() if name not in WITHOUT_EFFECT}
    return {"command": run.info.made_by(), "seed": run.info.seed, **dict(flat(given))}


def versions(run: Recorded) -> Facts:
    """Versions of the packages that matter to a result."""
    return dict(run.info.versions)


def training(run: Recorded) -> Facts:
    """Loss, optimizer, learning rate, plan and batches, as measured."""
    wiring, plan = run.measured.get(Wiring), run.measured.get(TrainingPlan)
    test = run.measured.get(OverfitHistory)
    return {
        **(_compiled(wiring) if wiring else {}),
        **(_planned(plan) if plan else {}),
        **(_tested(test) if test else {}),
    }


def _compiled(wiring: Wiring) -> Facts:
    given = {k: v for k, v in wiring.optimizer_config.items() if k not in {"learning_rate", "name"}}
    return {
        "loss": wiring.loss,
        **dict(flat(wiring.loss_config, "loss.")),
        "loss weights": wiring.loss_weights or None,
        "optimizer": wiring.optimizer,
        "learning rate": _single(wiring.learning_rate),
        **dict(flat(given, "optimizer.")),
        "precision": wiring.precision,
        "loss scaled": wiring.loss_scaled,
    }


def _single(rate: float) -> float:
    """A rate as written in the code: optimizers store it in float32."""
    return float(np.format_float_positional(np.float32(rate)))


def _planned(plan: TrainingPlan) -> Facts:
    return {
        "epochs": plan.epochs,
        "steps per epoch": plan.steps_per_epoch,
        "learning rate schedule": plan.schedule,
        **dict(flat(plan.schedule_config, "schedule.")),
        "callbacks": [callback.kind for callback in plan.callbacks] or None,
        "validated": plan.validated,
    }


def _tested(test: OverfitHistory) -> Facts:
    return {
        "items to memorise": test.items,
        "items in the subset": test.subset_items,
        "batch size": test.batch_size,
        "image size": test.image_size,
        "error measured as": test.metric,
    }


def data(run: Recorded) -> Facts:
    """Shape, dtype and range of inputs and targets."""
    facts = run.measured.get(DataFacts)
    if facts is None:
        return {}
    named = {"samples looked at": facts.samples}
    for role, tensors in (("input", facts.inputs), ("target", facts.targets)):
        for tensor in tensors:
            name = role if tensor.name == role else f"{role} {tensor.name}"
            named |= {f"{name}: {fact}": value for fact, value in _tensor(tensor).items()}
    return named


def _tensor(tensor: TensorFacts) -> Facts:
    return {
        "shape": shape_text(tensor.shape),
        "dtype": tensor.dtype,
        "least": tensor.minimum,
        "largest": tensor.maximum,
        "mean": tensor.mean,
    }


def shape_text(shape: tuple[int | None, ...]) -> str:
    """``? x 28 x 28 x 1``."""
    return " x ".join("?" if length is None else str(length) for length in shape)


def outcome(run: Recorded) -> Facts:
    """Status, verdict, root cause, model size, and the last values of the curves."""
    return {"status": run.info.status, **_judged(run), **dict(_ends(run))}


def _judged(run: Recorded) -> Facts:
    if run.diagnosis is None:
        return {}
    subject = run.diagnosis.subject
    return {
        "verdict": run.diagnosis.verdict,
        "root cause": root_text(run.diagnosis.root_cause),
        "parameters": subject.parameters,
        "trainable parameters": subject.trainable_parameters,
    }


def root_text(cause: RootCause | None) -> str | None:
    """``SD101 single-channel-softmax in softmax_output``; None if there is none."""
    if cause is None:
        return None
    shown = ", ".join(layer or "(model)" for layer in cause.layers[:2])
    more = f" and {len(cause.layers) - 2} more" if len(cause.layers) > 2 else ""
    return f"{cause.rule} {cause.name}" + (f" in {shown}{more}" if shown else "")


def _ends(run: Recorded) -> Iterator[tuple[str, Any]]:
    if (test := run.measured.get(OverfitHistory)) is not None:
        yield "overfit test stopped by", test.stopped
        yield "overfit test: steps", int(np.size(test.steps))
        yield from _errors(test).items()
    if (history := run.measured.get(TrainingHistory)) is not None:
        yield "epochs trained", int(np.size(history.epochs))
        for name, values in zip(history.names, np.atleast_2d(history.values), strict=False):
            yield f"{name} at the end", _last(values)
    steps = run.measured.get(GradientHistory)
    if steps is not None and history is None and test is None:
        yield "loss at the last recorded step", _last(steps.loss)


def _errors(test: OverfitHistory) -> Mapping[str, float | None]:
    return {
        "error at the end, training mode": _last(test.training_error),
        "error at the end, inference mode": _last(test.inference_error),
        "error on items not memorised": _known(test.validation_error),
        "error of the best fixed prediction": _known(test.baseline_independent),
    }


def _last(values: Any) -> float | None:
    flat_values = np.ravel(values)
    return float(flat_values[-1]) if flat_values.size else None


def _known(value: float) -> float | None:
    return None if np.isnan(value) else value
