"""A layer that runs in training mode even when the model runs in inference mode."""

from __future__ import annotations

from typing import Any

from saldiag.selftest.program import keras, layers


class AlwaysTraining(layers.Layer):
    """Calls another layer in training mode if ``always``, which is False in a fixed twin.

    A functional model overrides the ``training=True`` of its own layer calls in ``fit``; inside
    the ``call`` of a layer or a subclassed model, nothing overrides it.
    """

    def __init__(self, layer: Any, always: bool) -> None:
        super().__init__()
        self.layer, self.always = layer, always

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        """The inner layer's output."""
        return self.layer(inputs, training=True if self.always else training)


class AlwaysTrainingClassifier(keras.Model):
    """A subclassed model: convolution, the layer, and a softmax head for three classes."""

    def __init__(self, layer: Any, always: bool) -> None:
        super().__init__()
        self.features = layers.Conv2D(8, 3, use_bias=False)
        self.layer, self.always = layer, always
        self.pool = layers.GlobalAveragePooling2D()
        self.head = layers.Dense(3, activation="softmax")

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        """Probabilities (batch, 3)."""
        hidden = self.layer(self.features(inputs), training=True if self.always else training)
        return self.head(self.pool(keras.activations.relu(hidden)))


__all__ = ["AlwaysTraining", "AlwaysTrainingClassifier"]
