"""What a case gives: a compiled model, and the batches it memorises or the training it takes."""

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
"""In which a chain of layers can be put together."""


@dataclass(frozen=True)
class Program:
    """A compiled model and its data; ``steps`` of training at the most.

    ``plan`` is what the program would hand to ``fit``, where that matters to what is shown;
    ``origins``: where layers got their weights. ``fit`` are arguments of ``model.fit``:
    the program is trained with them, in place of the overfit test on ``batches``.
    """

    model: Any
    batches: Sequence[tuple[Any, ...]] = ()
    steps: int = 150
    expected_range: tuple[float, float] | None = None
    plan: FitPlan | None = None
    origins: tuple[Origin, ...] = ()
    fit: Mapping[str, Any] | None = None


Maker = Callable[[int], Program]


class Chain(keras.Model):
    """A subclassed model that calls its layers one after the other."""

    def __init__(self, parts: Sequence[Any], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.parts = list(parts)

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        for part in self.parts:
            extra = {"training": training} if isinstance(part, _MODAL) else {}
            inputs = part(inputs, **extra)
        return inputs


_MODAL = (layers.BatchNormalization, layers.Dropout)


def chain(form: str, shape: tuple[int | None, ...], parts: Sequence[Any], name: str = "") -> Any:
    """An uncompiled model that calls ``parts`` in order, put together in that form.

    ``nested``: the first half is a model of its own inside a functional one.
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
        return keras.Model(inputs, _through(inner(inputs), parts[half:]), name=name)
    return keras.Model(inputs, _through(inputs, parts), name=name)


def _through(value: Any, parts: Sequence[Any]) -> Any:
    for part in parts:
        value = part(value)
    return value


def compiled(model: Any, loss: Any, *, rate: float = 1e-2, **options: Any) -> Any:
    """Compile with Adam, without XLA."""
    options.setdefault("optimizer", keras.optimizers.Adam(rate))
    model.compile(loss=loss, jit_compile=False, **options)
    return model


def numbers(seed: int, count: int = 32, width: int = 8) -> tuple[Any, Any]:
    """Inputs (count, width), standard normal, and a binary label (count, 1) made from them."""
    random = np.random.default_rng(seed)
    x = random.normal(size=(count, width)).astype("float32")
    return x, (x[:, :1] * x[:, 1:2] > 0).astype("float32")


def classes(seed: int, count: int = 48, width: int = 8, kinds: int = 3) -> tuple[Any, Any]:
    """Inputs (count, width), standard normal, and integer classes (count,), one blob each."""
    random = np.random.default_rng(seed)
    labels = np.arange(count) % kinds
    centres = random.normal(scale=1.5, size=(kinds, width))
    x = centres[labels] + random.normal(scale=0.7, size=(count, width))
    x = (x - x.mean(0)) / x.std(0)
    return x.astype("float32"), labels.astype("int64")


def curve(seed: int, count: int = 32, width: int = 6) -> tuple[Any, Any]:
    """Inputs (count, width), standard normal, and a smooth target (count, 1), about ±2."""
    random = np.random.default_rng(seed)
    x = random.normal(size=(count, width)).astype("float32")
    return x, (np.sin(x[:, :1]) + x[:, 1:2] * x[:, 2:3]).astype("float32")


def pictures(seed: int, count: int = 16, side: int = 16) -> tuple[Any, Any]:
    """Pictures (count, side, side, 3) in [-1, 1] and the mask (…, 1) of their bright square."""
    random = np.random.default_rng(seed)
    x = random.uniform(-1, 0.2, size=(count, side, side, 3))
    mask = np.zeros((count, side, side, 1))
    for index in range(count):
        row, column = random.integers(0, side - side // 3, 2)
        mask[index, row : row + side // 3, column : column + side // 3] = 1
    return np.clip(x + 0.8 * mask, -1, 1).astype("float32"), mask.astype("float32")


def sized(seed: int, count: int = 24) -> tuple[Any, Any]:
    """Pictures (count, 16, 16, 3), and which of three sizes their square has, integers (count,)."""
    random = np.random.default_rng(seed)
    x = random.uniform(-1, -0.2, size=(count, 16, 16, 3))
    kinds = np.arange(count) % 3
    for index, kind in enumerate(kinds):
        row, column = random.integers(0, 8, 2)
        x[index, row : row + 2 + 3 * kind, column : column + 2 + 3 * kind] += 1
    return x.astype("float32"), kinds.astype("int64")


def sentences(seed: int, count: int = 32, length: int = 10, words: int = 20) -> tuple[Any, Any]:
    """Token numbers (count, length) and whether the first word comes from the first half."""
    random = np.random.default_rng(seed)
    tokens = random.integers(1, words, size=(count, length))
    return tokens, (tokens[:, :1] < words // 2).astype("float32")


__all__ = [
    "FORMS",
    "FitPlan",
    "Maker",
    "Program",
    "chain",
    "classes",
    "compiled",
    "curve",
    "keras",
    "layers",
    "np",
    "numbers",
    "pictures",
    "sentences",
    "sized",
]
