"""Losses by name: the choices of ``--loss``.

Each takes masks in {0, 1} and predictions in [0, 1] of shape (B, H, W, 1). None takes logits: the
built-in models end in a sigmoid, and Keras' ``binary_crossentropy`` recovers the logits where that
is numerically better.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from saldiag.core.errors import SaldiagError

_PIXEL_AXES = (1, 2, 3)
"""Axes of height, width and channel."""


@keras.saving.register_keras_serializable(package="saldiag")
class ScaledMeanAbsoluteError(keras.losses.MeanAbsoluteError):
    """``scale`` times the mean absolute error.

    Hypothesis H3 of the case, a remedy against vanishing gradients that cannot work: a factor does
    not change a gradient of exactly zero, and Adam is invariant to the scale of the loss (Kingma
    and Ba, ICLR 2015, section 2.1).
    """

    def __init__(self, scale: float = 1e3, name: str = "scaled_mae", **options: Any) -> None:
        super().__init__(name=name, **options)
        self.scale = scale

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """``scale * mean |y_true - y_pred|`` over the last axis."""
        return self.scale * super().call(y_true, y_pred)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "scale": self.scale}


@keras.saving.register_keras_serializable(package="saldiag")
class SoftDice(keras.losses.Loss):
    """One minus the soft Dice coefficient of each image (Milletari et al., 3DV 2016).

    The denominator has squares, as in the paper. ``smooth`` makes the loss of an empty mask that is
    predicted empty 0.
    """

    def __init__(self, smooth: float = 1.0, name: str = "dice", **options: Any) -> None:
        super().__init__(name=name, **options)
        self.smooth = smooth

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Loss of each image, shape (B,)."""
        overlap = ops.sum(y_true * y_pred, axis=_PIXEL_AXES)
        sizes = ops.sum(y_true * y_true, axis=_PIXEL_AXES) + ops.sum(
            y_pred * y_pred, axis=_PIXEL_AXES
        )
        return 1 - (2 * overlap + self.smooth) / (sizes + self.smooth)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "smooth": self.smooth}


@keras.saving.register_keras_serializable(package="saldiag")
class SoftIoU(keras.losses.Loss):
    """One minus the soft intersection over union of each image (Rahman and Wang, ISVC 2016)."""

    def __init__(self, smooth: float = 1.0, name: str = "iou", **options: Any) -> None:
        super().__init__(name=name, **options)
        self.smooth = smooth

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Loss of each image, shape (B,)."""
        overlap = ops.sum(y_true * y_pred, axis=_PIXEL_AXES)
        union = ops.sum(y_true + y_pred - y_true * y_pred, axis=_PIXEL_AXES)
        return 1 - (overlap + self.smooth) / (union + self.smooth)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "smooth": self.smooth}


_LOSS_FACTORIES: dict[str, Callable[[], Any]] = {
    "mae": keras.losses.MeanAbsoluteError,
    "scaled-mae": ScaledMeanAbsoluteError,
    "mse": keras.losses.MeanSquaredError,
    "bce": keras.losses.BinaryCrossentropy,
    "dice": SoftDice,
    "iou": SoftIoU,
}

LOSSES: tuple[str, ...] = tuple(_LOSS_FACTORIES)
"""The names that ``loss_by_name`` takes."""


def loss_by_name(name: str) -> Any:
    """A new Keras loss (a mean over the batch).

    Raises:
        SaldiagError: the name is unknown; the message suggests the closest one.
    """
    if name not in _LOSS_FACTORIES:
        near = difflib.get_close_matches(name, LOSSES, n=1)
        hint = f"did you mean {near[0]}?" if near else f"choose one of {', '.join(LOSSES)}"
        raise SaldiagError(f"unknown loss {name!r}: {hint}")
    return _LOSS_FACTORIES[name]()
