"""The programs of the matrix: a compiled model and its data; builders of models and data."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import layers

from saldiag.core.measurement import Origin
from saldiag.core.training.fit_plan import FitPlan

FORMS = ("sequential", "functional", "subclassed", "nested")
"""Kinds of model that a chain of layers can be built as."""


@dataclass(frozen=True)
class Program:
    """A compiled model and its data."""

    model: Any
    """A compiled Keras model."""
    batches: Sequence[tuple[Any, ...]] = ()
    """Batches (x, y) to memorise in the overfit test."""
    steps: int = 150
    """Maximum number of training steps of the overfit test."""
    expected_range: tuple[float, float] | None = None
    """Smallest and largest input value that the model expects; None if it is not known."""
    plan: FitPlan | None = None
    """What the program would pass to ``fit``, if the fault is in it; else None."""
    origins: tuple[Origin, ...] = ()
    """Where layers got pretrained weights from."""
    fit: Mapping[str, Any] | None = None
    """Arguments of ``model.fit``: the model is trained with them instead of the overfit test."""


Maker = Callable[[int], Program]


class Chain(keras.Model):
    """A subclassed model that calls its layers in order."""

    def __init__(self, parts: Sequence[Any], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.parts = list(parts)

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        for part in self.parts:
            extra = {"training": training} if isinstance(part, _MODAL) else {}
            inputs = part(inputs, **extra)
        return inputs


_MODAL = (layers.BatchNormalization, layers.Dropout)


def build_chain(
    form: str, shape: tuple[int | None, ...], parts: Sequence[Any], name: str = ""
) -> Any:
    """An uncompiled model that calls the layers ``parts`` in order.

    Args:
        form: one of ``FORMS``; in ``nested`` the first half is a model inside a functional one.
        shape: input shape without the batch axis.
        parts: the layers.
        name: the model's name; by default ``FORM_chain``.
    """
    parts = list(parts)
    name = name or f"{form}_chain"
    if form == "sequential":
        return keras.Sequential([keras.Input(shape), *parts], name=name)
    if form == "subclassed":
        return Chain(parts, name=name)
    inputs = keras.Input(shape)
    if form == "nested":
        half = max(1, len(parts) // 2)
        inner = keras.Sequential([keras.Input(shape), *parts[:half]], name="inner")
        return keras.Model(inputs, _apply_layers(inner(inputs), parts[half:]), name=name)
    return keras.Model(inputs, _apply_layers(inputs, parts), name=name)


def _apply_layers(value: Any, parts: Sequence[Any]) -> Any:
    for part in parts:
        value = part(value)
    return value


def compile_model(model: Any, loss: Any, *, rate: float = 1e-2, **options: Any) -> Any:
    """Compile with Adam, without XLA."""
    options.setdefault("optimizer", keras.optimizers.Adam(rate))
    model.compile(loss=loss, jit_compile=False, **options)
    return model


def binary_data(seed: int, count: int = 32, width: int = 8) -> tuple[Any, Any]:
    """Standard normal inputs (count, width), and a binary label (count, 1) that depends on them."""
    random = np.random.default_rng(seed)
    x = random.normal(size=(count, width)).astype("float32")
    return x, (x[:, :1] * x[:, 1:2] > 0).astype("float32")


def class_data(seed: int, count: int = 48, width: int = 8, kinds: int = 3) -> tuple[Any, Any]:
    """Standardised inputs (count, width), and integer classes (count,), one Gaussian blob each."""
    random = np.random.default_rng(seed)
    labels = np.arange(count) % kinds
    centres = random.normal(scale=1.5, size=(kinds, width))
    x = centres[labels] + random.normal(scale=0.7, size=(count, width))
    x = (x - x.mean(0)) / x.std(0)
    return x.astype("float32"), labels.astype("int64")


def regression_data(seed: int, count: int = 32, width: int = 6) -> tuple[Any, Any]:
    """Standard normal inputs (count, width), and a smooth target (count, 1) of about ±2."""
    random = np.random.default_rng(seed)
    x = random.normal(size=(count, width)).astype("float32")
    return x, (np.sin(x[:, :1]) + x[:, 1:2] * x[:, 2:3]).astype("float32")


def mask_data(seed: int, count: int = 16, side: int = 16) -> tuple[Any, Any]:
    """Images (count, side, side, 3) in [-1, 1], and the mask (…, 1) of their bright square."""
    random = np.random.default_rng(seed)
    x = random.uniform(-1, 0.2, size=(count, side, side, 3))
    mask = np.zeros((count, side, side, 1))
    for index in range(count):
        row, column = random.integers(0, side - side // 3, 2)
        mask[index, row : row + side // 3, column : column + side // 3] = 1
    return np.clip(x + 0.8 * mask, -1, 1).astype("float32"), mask.astype("float32")


def size_data(seed: int, count: int = 24) -> tuple[Any, Any]:
    """Images (count, 16, 16, 3), and the size class of their square, 0 to 2, (count,)."""
    random = np.random.default_rng(seed)
    x = random.uniform(-1, -0.2, size=(count, 16, 16, 3))
    kinds = np.arange(count) % 3
    for index, kind in enumerate(kinds):
        row, column = random.integers(0, 8, 2)
        x[index, row : row + 2 + 3 * kind, column : column + 2 + 3 * kind] += 1
    return x.astype("float32"), kinds.astype("int64")


def token_data(seed: int, count: int = 32, length: int = 10, words: int = 20) -> tuple[Any, Any]:
    """Token numbers (count, length), and whether the first is in the lower half, (count, 1)."""
    random = np.random.default_rng(seed)
    tokens = random.integers(1, words, size=(count, length))
    return tokens, (tokens[:, :1] < words // 2).astype("float32")


__all__ = [
    "FORMS",
    "FitPlan",
    "Maker",
    "Program",
    "binary_data",
    "build_chain",
    "class_data",
    "compile_model",
    "keras",
    "layers",
    "mask_data",
    "np",
    "regression_data",
    "size_data",
    "token_data",
]
