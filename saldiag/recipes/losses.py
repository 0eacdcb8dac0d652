"""Losses by name: what ``--loss`` offers.

Every one takes masks in {0, 1} and predictions in [0, 1] of shape (B, H, W, 1). There is no loss on
logits among them: the built-in models end in a sigmoid, and Keras' own ``binary_crossentropy`` goes
back to the logits by itself where that is numerically better.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from saldiag.core.errors import SaldiagError

_PIXEL_AXES = (1, 2, 3)


@keras.saving.register_keras_serializable(package="saldiag")
class ScaledMeanAbsoluteError(keras.losses.MeanAbsoluteError):
    """``scale`` times the mean absolute error.

    It is hypothesis H3 of the case, the remedy against vanishing gradients that could not work:
    a factor leaves an exact zero zero, and Adam is indifferent to the scale of the loss (Kingma and
    Ba, ICLR 2015, section 2.1).
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

    The squares in the denominator are those of the paper. An empty mask that is predicted empty
    has loss 0, thanks to ``smooth``.
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
"""The names that ``loss_by_name`` knows."""


def loss_by_name(name: str) -> Any:
    """A new Keras loss (a mean over the batch) of that name.

    Raises:
        SaldiagError: there is no loss of that name; the message suggests the nearest.
    """
    if name not in _LOSS_FACTORIES:
        near = difflib.get_close_matches(name, LOSSES, n=1)
        hint = f"did you mean {near[0]}?" if near else f"choose one of {', '.join(LOSSES)}"
        raise SaldiagError(f"no loss is called {name!r}: {hint}")
    return _LOSS_FACTORIES[name]()
