"""The kind of the targets, and the output activation that targets and loss imply."""

from __future__ import annotations

from typing import Any, Literal

import keras
import numpy as np

from saldiag.core.keras_types import KerasModel
from saldiag.experiments.interventions.base import NotApplicable
from saldiag.experiments.interventions.output_layers import output_units
from saldiag.experiments.interventions.workbench import Workbench
from saldiag_probes.loss.compiled_loss import compiled_losses

TargetKind = Literal["binary", "shares", "classes", "one-hot", "sides", "numbers"]
"""``binary``: two values, the lower one 0. ``shares``: values in [0, 1]. ``classes``: class
indices for an output of several units. ``one-hot``: one unit per class. ``sides``: -1 and 1.
``numbers``: anything else."""
_IMPLIED_ACTIVATIONS: dict[TargetKind, str] = {
    "binary": "sigmoid", "shares": "sigmoid", "classes": "softmax", "one-hot": "softmax",
    "sides": "tanh", "numbers": "linear",
}  # fmt: skip


def output_targets(lab: Workbench) -> list[Any]:
    """The targets of each output, all items in one array (items, …).

    Raises:
        NotApplicable: there are no targets.
    """
    if any(len(batch) < 2 or batch[1] is None for batch in lab.batches):
        raise NotApplicable("there are no targets")
    columns = zip(*(keras.tree.flatten(batch[1]) for batch in lab.batches), strict=True)
    return [np.concatenate([np.asarray(part) for part in column]) for column in columns]


def target_kinds(lab: Workbench) -> list[TargetKind]:
    """The kind of each output's targets.

    Raises:
        NotApplicable: there are no targets.
    """
    found = output_targets(lab)
    return [target_kind(*each) for each in zip(found, output_units(lab, len(found)), strict=True)]


def target_kind(target: Any, units: int) -> TargetKind:
    """The kind of a target array for an output of ``units`` units (0: unknown)."""
    values = np.unique(target.ravel()[: 1 << 16])  # the first 65 536 values are enough
    whole = bool((values == np.round(values)).all())
    low, high = float(values.min()), float(values.max())
    if whole and units > 1 and low >= 0 and high < units and _holds_class_numbers(target, units):
        return "classes"
    if whole and len(values) <= 2:
        return "sides" if (low, high) == (-1.0, 1.0) else _kind_of_two_values(target, low, high)
    if low >= 0 and high <= 1:
        return "shares"
    return "numbers"


def _holds_class_numbers(target: Any, units: int) -> bool:
    """Whether the targets hold one number where the output has ``units``."""
    return bool(target.ndim < 2 or target.shape[-1] != units)


def _kind_of_two_values(target: Any, low: float, high: float) -> TargetKind:
    if low != 0:
        return "numbers"
    several = target.ndim > 1 and target.shape[-1] > 1
    return "one-hot" if several and bool((target.sum(axis=-1) == high).all()) else "binary"


def loss_takes_logits(model: KerasModel) -> bool:
    """Whether a compiled loss has ``from_logits=True``."""
    losses = [part for part in compiled_losses(model) if isinstance(part, keras.losses.Loss)]
    return any(bool(loss.get_config().get("from_logits")) for loss in losses)


def implied_activations(lab: Workbench, count: int) -> list[str]:
    """Name of the activation that targets and loss imply for each of ``count`` outputs.

    Raises:
        NotApplicable: there are no targets, or their number differs from ``count``.
    """
    kinds = target_kinds(lab)
    if len(kinds) != count:
        raise NotApplicable(f"there are {len(kinds)} targets for {count} outputs")
    if loss_takes_logits(lab.model):
        return ["linear"] * count
    return [_IMPLIED_ACTIVATIONS[kind] for kind in kinds]
