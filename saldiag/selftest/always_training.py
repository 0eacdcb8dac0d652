"""A layer that is called with ``training=True``, whatever the model is called with."""

from __future__ import annotations

from typing import Any

from saldiag.selftest.program import keras, layers


class AlwaysTraining(layers.Layer):
    """Calls another layer in training mode, also in inference; ``always`` is False in a twin.

    A functional model overrides ``layer(x, training=True)`` of its own layers in ``fit``. In the
    ``call`` of a layer or a model nothing does.
    """

    def __init__(self, layer: Any, always: bool) -> None:
        super().__init__()
        self.layer, self.always = layer, always

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        """In training mode."""
        return self.layer(inputs, training=True if self.always else training)


class AlwaysTrainingClassifier(keras.Model):
    """Convolution, the layer, and three classes, as a subclassed model."""

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
