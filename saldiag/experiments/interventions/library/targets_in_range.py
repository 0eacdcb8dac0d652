"""Targets in the range of the output."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from saldiag.experiments.interventions.base import Intervention, NotApplicable
from saldiag.experiments.interventions.batch_transforms import mapped
from saldiag.experiments.interventions.change import Batches, Change
from saldiag.experiments.interventions.output_layers import last_activations
from saldiag.experiments.interventions.targets import targets_of
from saldiag.experiments.interventions.workbench import Workbench
from saldiag_probes.loss.compiled_loss import compiled_losses, loss_name

_RANGES = {"sigmoid": (0.0, 1.0), "tanh": (-1.0, 1.0), "softsign": (-1.0, 1.0)}


class TargetsInRange(Intervention):
    """Moves and scales the targets into what the output can say and the loss is made for."""

    name = "targets-in-range"
    states = "the targets lie outside of what the output can say"
    answers: ClassVar[tuple[str, ...]] = ("SD108", "SD602")
    words: ClassVar[tuple[str, ...]] = ("target", "mask", "label", "range", "255")

    def change(self, lab: Workbench) -> Change:
        targets = targets_of(lab)
        ranges = [_range(lab, name) for name in last_activations(lab, len(targets))]
        if any(wanted is None for wanted in ranges):
            raise NotApplicable("the output can say any number")
        spans = [(float(t.min()), float(t.max())) for t in targets]
        if all(_within(span, wanted) for span, wanted in zip(spans, ranges, strict=True)):
            raise NotApplicable("the targets are within the output's range")

        def moved(number: int, target: Any) -> Any:
            (low, high), wanted = spans[number], ranges[number]
            assert wanted is not None
            share = (target.astype(np.float64) - low) / max(high - low, 1e-12)
            other: Any = wanted[0] + share * (wanted[1] - wanted[0])
            return other.astype(target.dtype if target.dtype.kind == "f" else np.float32)

        def feed(batches: Batches, seed: int) -> Batches:  # noqa: ARG001 - the same for every seed
            return mapped(batches, 1, moved)

        told = "; ".join(
            f"scaling targets from {low:.3g} … {high:.3g} to {wanted[0]:.0f} … {wanted[1]:.0f}"
            for (low, high), wanted in zip(spans, ranges, strict=True)
            if wanted
        )
        return Change(told, feed=feed, traced=False)


def _range(lab: Workbench, activation: str) -> tuple[float, float] | None:
    if "binary" in loss_name(lab.model):
        return 0.0, 1.0
    if len(compiled_losses(lab.model)) == 1 and "hinge" in loss_name(lab.model):
        return -1.0, 1.0
    return _RANGES.get(activation)


def _within(span: tuple[float, float], wanted: tuple[float, float] | None) -> bool:
    return wanted is not None and wanted[0] <= span[0] and span[1] <= wanted[1]
