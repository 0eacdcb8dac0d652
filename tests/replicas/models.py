"""Three kinds of small models with their data: dense, convolutions with BatchNorm, recurrent."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

ITEMS = 128


@dataclass(frozen=True)
class Kind:
    """A kind of model and its data."""

    name: str
    build: Callable[[dict[str, Any]], Any]
    """Makes the model, with keyword arguments for its dense layers."""
    data: Callable[[], tuple[Any, Any]]
    classes: int = 0
    """Number of classes; 0 for a regression."""


def _dense(settings: dict[str, Any]) -> Any:
    return keras.Sequential([
        keras.Input((8,)),
        keras.layers.Dense(16, activation="relu", **settings),
        keras.layers.Dense(1, **settings),
    ])  # fmt: skip


def _numbers() -> tuple[Any, Any]:
    x = np.random.default_rng(1).normal(size=(ITEMS, 8)).astype("float32")
    return x, x.sum(axis=1, keepdims=True) / 3


def _pictures() -> tuple[Any, Any]:
    rng = np.random.default_rng(2)
    y = rng.integers(0, 3, ITEMS)
    return (rng.normal(size=(ITEMS, 6, 6, 1)) + y[:, None, None, None]).astype("float32"), y


def _convolutional(settings: dict[str, Any]) -> Any:
    inputs = keras.Input((6, 6, 1))
    x = keras.layers.Conv2D(4, 3, use_bias=False)(inputs)
    x = keras.layers.BatchNormalization()(x)
    x = keras.layers.ReLU()(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, keras.layers.Dense(3, activation="softmax", **settings)(x))


def _words() -> tuple[Any, Any]:
    rng = np.random.default_rng(3)
    y = rng.integers(0, 2, ITEMS)
    return rng.integers(1, 10, (ITEMS, 5)) + 10 * y[:, None], y


def _recurrent(settings: dict[str, Any]) -> Any:
    return keras.Sequential([
        keras.Input((5,), dtype="int32"),
        keras.layers.Embedding(20, 4),
        keras.layers.GRU(6),
        keras.layers.Dense(2, activation="softmax", **settings),
    ])  # fmt: skip


KINDS = {
    kind.name: kind
    for kind in (
        Kind("dense", _dense, _numbers),
        Kind("convolutional", _convolutional, _pictures, 3),
        Kind("recurrent", _recurrent, _words, 2),
    )
}
