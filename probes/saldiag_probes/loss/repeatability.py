"""Whether a loss has the same value twice for one batch; nothing can be concluded from one without.

A loss may count its calls, in a variable or in a Python object, and anneal a term with the count.
Variables are set back after every pass of saldiag's, Python objects cannot be.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from saldiag.core.keras_types import KerasModel, TensorTree
from saldiag.core.measurement import CHANGED_BY_ITSELF
from saldiag.core.wording import number
from saldiag.keras_internals.compilation import loss_method
from saldiag_probes.loss.compiled_loss import loss_name, overrides_compute_loss
from saldiag_probes.state.isolation import preserved_state
from saldiag_probes.state.random_state import eager_draws
from saldiag_probes.trace.batch import as_batch
from saldiag_probes.trace.execution import without_graph_optimizer

ROUNDING = 1e-5
"""Relative difference of two sums of the same float32 numbers in another order, at most."""


def changing_loss(model: KerasModel, batch: Any, y_pred: TensorTree) -> str | None:
    """What the loss returned in two calls with the same batch if it depends on its own state.

    None if the two agree, if they differ by random numbers alone, if Keras defines the loss, or if
    it cannot be computed. The loss is called twice, and a third time if the two differ and no
    variable explains it.

    Args:
        model: a compiled model.
        batch: ``(x, y)`` or ``(x, y, sample_weight)``.
        y_pred: the predictions for ``x``.
    """
    if not is_custom_loss(model):
        return None
    data = as_batch(batch)
    predictions = keras.tree.map_structure(tf.constant, y_pred)

    def loss_value() -> float:
        value = loss_method(model)(
            x=data.x, y=data.y, y_pred=predictions, sample_weight=data.sample_weight, training=False
        )
        return float(value)

    drawn = eager_draws()
    try:
        with preserved_state(model) as used, without_graph_optimizer():
            first, second = loss_value(), loss_value()
            counts = used.others_changed()
        if _agree(first, second):
            return None
        if not counts and (eager_draws() > drawn or _agree(first, _again(model, loss_value))):
            return None
    except Exception:  # raised by a custom loss
        return None
    return (
        f"the loss returned {number(first)} and then {number(second)} for the same batch: "
        f"{CHANGED_BY_ITSELF}"
    )


def is_custom_loss(model: KerasModel) -> bool:
    """Whether any part of the loss is not defined by Keras."""
    return overrides_compute_loss(model) or "custom:" in loss_name(model)


def _again(model: KerasModel, loss_value: Any) -> float:
    """The loss with all variables and random states as they were before the first call."""
    with preserved_state(model), without_graph_optimizer():
        value: float = loss_value()
    return value


def _agree(one: float, other: float) -> bool:
    return bool(np.isclose(one, other, rtol=ROUNDING, atol=0.0, equal_nan=True))
