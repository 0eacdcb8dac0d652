"""Models with a custom ``train_step``, for seeding faults."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
import tensorflow as tf

from saldiag.selftest.program import Chain

Change = Callable[[list[Any]], list[Any] | None]
"""Changes the gradients before they are applied; returns None to skip applying them."""

FORMS = ("functional", "subclassed")
"""Kinds of model that can have a custom ``train_step``."""


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
    """A functional model."""


class _Chain(_Stepping, Chain):
    """A subclassed model that calls its layers in order."""


def custom_step_model(form: str, inputs: Any, parts: Sequence[Any], change: Change | None) -> Any:
    """An uncompiled model with a custom ``train_step`` that calls ``parts`` in order."""
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
