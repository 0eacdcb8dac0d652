"""A layer made of layers, whose frozen sublayers stay frozen when it is loaded from a file."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras

from saldiag.keras_internals.layers import child_layers


class CompositeLayer(keras.layers.Layer):
    """Base class of the blocks.

    Keras saves only the block's own ``trainable``: after loading, the layers in a frozen block
    would be trainable again, and their BatchNorm would run in training mode.

    Args:
        frozen: names of the layers in the block that are not trainable.
        **options: those of a Keras layer, such as ``name``.
    """

    def __init__(self, frozen: Sequence[str] = (), **options: Any) -> None:
        super().__init__(**options)
        self._frozen_at_start = tuple(frozen)

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Create the weights, then freeze layers: only existing weights can be frozen."""
        self.build_parts(input_shape)
        for part in self._parts():
            if part.name in self._frozen_at_start:
                part.trainable = False
        self.built = True

    def build_parts(self, input_shape: tuple[int | None, ...]) -> None:
        """Create the weights of the layers in the block."""
        raise NotImplementedError

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments, with the names of the layers that are frozen now."""
        frozen = [part.name for part in self._parts() if not part.trainable]
        return {**super().get_config(), "frozen": frozen}

    def _parts(self) -> list[Any]:
        return child_layers(self)
