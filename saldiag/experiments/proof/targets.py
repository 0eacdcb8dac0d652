"""What the targets and the loss imply."""

from __future__ import annotations

from typing import Any, Literal

import keras
import numpy as np

from saldiag.experiments.proof.intervention import NotApplicable
from saldiag_probes.loss_facts import compiled_losses

Kind = Literal["shares", "classes", "one-hot", "sides", "numbers"]


def kinds_of(lab: Any) -> list[Kind]:
    """What kind of targets each output has.

    Raises:
        NotApplicable: there are no targets.
    """
    if any(len(batch) < 2 or batch[1] is None for batch in lab.batches):
        raise NotApplicable("there are no targets")
    columns = zip(*(keras.tree.flatten(batch[1]) for batch in lab.batches), strict=True)
    return [_kind(np.concatenate([np.asarray(part) for part in column])) for column in columns]


def _kind(target: Any) -> Kind:
    values = np.unique(target[: 1 << 14])
    integers = bool(np.issubdtype(target.dtype, np.integer) or (values == np.round(values)).all())
    low, high = float(values.min()), float(values.max())
    if integers and {low, high} == {-1.0, 1.0} and len(values) == 2:
        return "sides"
    if low >= 0 and high <= 1:
        return "one-hot" if _one_hot(target) else "shares"
    if integers and low >= 0 and high < 1000 and target.shape[-1:] in ((1,), target.shape[:1]):
        return "classes"
    if integers and low >= 0 and np.issubdtype(target.dtype, np.integer):
        return "classes"
    return "numbers"


def _one_hot(target: Any) -> bool:
    return bool(
        target.ndim > 1
        and target.shape[-1] > 1
        and np.isin(target, (0, 1)).all()
        and (target.sum(axis=-1) == 1).all()
    )


def takes_logits(model: Any) -> bool:
    """Whether the loss says that it takes logits."""
    losses = [part for part in compiled_losses(model) if isinstance(part, keras.losses.Loss)]
    return any(bool(loss.get_config().get("from_logits")) for loss in losses)


def fitting_activation(lab: Any, count: int) -> list[str]:
    """The activation that targets and loss imply for each of ``count`` outputs.

    Raises:
        NotApplicable: there are no targets, or not one for each output.
    """
    kinds = kinds_of(lab)
    if len(kinds) != count:
        raise NotApplicable(f"there are {len(kinds)} targets for {count} outputs")
    if takes_logits(lab.model):
        return ["linear"] * count
    implied = {"shares": "sigmoid", "classes": "softmax", "one-hot": "softmax", "sides": "tanh",
               "numbers": "linear"}  # fmt: skip
    return [implied[kind] for kind in kinds]
