"""Targets rescaled into the range of the output."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from saldiag.experiments.interventions.base import Intervention, NotApplicable
from saldiag.experiments.interventions.batch_transforms import map_batch_part
from saldiag.experiments.interventions.change import Batches, Change
from saldiag.experiments.interventions.output_layers import last_activations
from saldiag.experiments.interventions.targets import output_targets
from saldiag.experiments.interventions.workbench import Workbench
from saldiag_probes.loss.compiled_loss import compiled_losses, loss_name

_ACTIVATION_RANGES = {"sigmoid": (0.0, 1.0), "tanh": (-1.0, 1.0), "softsign": (-1.0, 1.0)}
"""Lowest and highest output of bounded activations."""


class TargetsInRange(Intervention):
    """Rescales the targets into the range of the output activation and the loss."""

    name = "targets-in-range"
    states = "the targets lie outside the range of the output"
    answers: ClassVar[tuple[str, ...]] = ("SD108", "SD602")
    words: ClassVar[tuple[str, ...]] = ("target", "mask", "label", "range", "255")

    def change(self, lab: Workbench) -> Change:
        targets = output_targets(lab)
        ranges = [_output_range(lab, name) for name in last_activations(lab, len(targets))]
        if any(output_range is None for output_range in ranges):
            raise NotApplicable("the range of the output is unbounded")
        spans = [(float(t.min()), float(t.max())) for t in targets]
        if all(_is_within(span, limits) for span, limits in zip(spans, ranges, strict=True)):
            raise NotApplicable("the targets are already within the range of the output")

        def rescale_target(number: int, target: Any) -> Any:
            (low, high), output_range = spans[number], ranges[number]
            assert output_range is not None
            share = (target.astype(np.float64) - low) / max(high - low, 1e-12)
            scaled: Any = output_range[0] + share * (output_range[1] - output_range[0])
            return scaled.astype(target.dtype if target.dtype.kind == "f" else np.float32)

        def rescale_targets(batches: Batches, seed: int) -> Batches:  # noqa: ARG001 - any seed
            return map_batch_part(batches, 1, rescale_target)

        description = "; ".join(
            f"scaling targets from {low:.3g}…{high:.3g} to {limits[0]:.0f}…{limits[1]:.0f}"
            for (low, high), limits in zip(spans, ranges, strict=True)
            if limits
        )
        return Change(description, transform_batches=rescale_targets, needs_retracing=False)


def _output_range(lab: Workbench, activation: str) -> tuple[float, float] | None:
    """The range that the loss or the last activation implies; None if unbounded."""
    if "binary" in loss_name(lab.model):
        return 0.0, 1.0
    if len(compiled_losses(lab.model)) == 1 and "hinge" in loss_name(lab.model):
        return -1.0, 1.0
    return _ACTIVATION_RANGES.get(activation)


def _is_within(span: tuple[float, float], limits: tuple[float, float] | None) -> bool:
    return limits is not None and limits[0] <= span[0] and span[1] <= limits[1]
