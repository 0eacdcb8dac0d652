"""Models with a training step of their own, in which a fault can be seeded."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
import tensorflow as tf

from saldiag.selftest.program import Chain

Change = Callable[[list[Any]], list[Any] | None]
"""What happens to the gradients before they are applied; None: they are not applied."""

FORMS = ("functional", "subclassed")
"""Sequential models and nested ones have no training step of their own."""


class _Stepping:
    change: Change

    def train_step(self: Any, data: Any) -> Any:
        x, y = data
        with tf.GradientTape() as tape:
            loss = self.compute_loss(x=x, y=y, y_pred=self(x, training=True))
        gradients = self.change(tape.gradient(loss, self.trainable_variables))
        if gradients is not None:
            self.optimizer.apply(gradients, self.trainable_variables)
        return {"loss": loss}


class _Model(_Stepping, keras.Model):
    """Given inputs and outputs."""


class _Chain(_Stepping, Chain):
    """Calls its layers one after the other."""


def custom_step_model(form: str, inputs: Any, parts: Sequence[Any], change: Change | None) -> Any:
    """An uncompiled model that calls ``parts`` in order and takes its own step."""
    model: Any
    if form == "subclassed":
        model = _Chain(parts, name="chain")
    else:
        outputs = inputs
        for part in parts:
            outputs = part(outputs)
        model = _Model(inputs, outputs, name="functional")
    model.change = change or (lambda gradients: gradients)
    return model
