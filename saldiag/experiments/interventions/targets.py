"""What the targets and the loss imply."""

from __future__ import annotations

from typing import Any, Literal

import keras
import numpy as np

from saldiag.experiments.interventions.base import NotApplicable
from saldiag.experiments.interventions.output_layers import units_of
from saldiag.experiments.interventions.workbench import Workbench
from saldiag_probes.loss.compiled_loss import compiled_losses

Kind = Literal["binary", "shares", "classes", "one-hot", "sides", "numbers"]
"""``binary``: two values that stand for no and yes. ``shares``: from 0 to 1. ``classes``: the
numbers of classes, one for several units. ``sides``: -1 and 1. ``numbers``: any others."""
_IMPLIED: dict[Kind, str] = {
    "binary": "sigmoid", "shares": "sigmoid", "classes": "softmax", "one-hot": "softmax",
    "sides": "tanh", "numbers": "linear",
}  # fmt: skip


def targets_of(lab: Workbench) -> list[Any]:
    """The targets of each output, all items in one array.

    Raises:
        NotApplicable: there are none.
    """
    if any(len(batch) < 2 or batch[1] is None for batch in lab.batches):
        raise NotApplicable("there are no targets")
    columns = zip(*(keras.tree.flatten(batch[1]) for batch in lab.batches), strict=True)
    return [np.concatenate([np.asarray(part) for part in column]) for column in columns]


def kinds_of(lab: Workbench) -> list[Kind]:
    """What kind of targets each output has.

    Raises:
        NotApplicable: there are no targets.
    """
    found = targets_of(lab)
    return [kind_of(*each) for each in zip(found, units_of(lab, len(found)), strict=True)]


def kind_of(target: Any, units: int) -> Kind:
    """What kind of targets these are, for an output of ``units`` (0: not known)."""
    values = np.unique(target.ravel()[: 1 << 16])
    whole = bool((values == np.round(values)).all())
    low, high = float(values.min()), float(values.max())
    if whole and units > 1 and low >= 0 and high < units and _one_for_all(target, units):
        return "classes"
    if whole and len(values) <= 2:
        return "sides" if (low, high) == (-1.0, 1.0) else _zero_or_one(target, low, high)
    if low >= 0 and high <= 1:
        return "shares"
    return "numbers"


def _one_for_all(target: Any, units: int) -> bool:
    """Whether there is one number where the output has several."""
    return bool(target.ndim < 2 or target.shape[-1] != units)


def _zero_or_one(target: Any, low: float, high: float) -> Kind:
    if low != 0:
        return "numbers"
    several = target.ndim > 1 and target.shape[-1] > 1
    return "one-hot" if several and bool((target.sum(axis=-1) == high).all()) else "binary"


def takes_logits(model: Any) -> bool:
    """Whether the loss says that it takes logits."""
    losses = [part for part in compiled_losses(model) if isinstance(part, keras.losses.Loss)]
    return any(bool(loss.get_config().get("from_logits")) for loss in losses)


def fitting_activation(lab: Workbench, count: int) -> list[str]:
    """The activation that targets and loss imply for each of ``count`` outputs.

    Raises:
        NotApplicable: there are no targets, or not one for each output.
    """
    kinds = kinds_of(lab)
    if len(kinds) != count:
        raise NotApplicable(f"there are {len(kinds)} targets for {count} outputs")
    if takes_logits(lab.model):
        return ["linear"] * count
    return [_IMPLIED[kind] for kind in kinds]
