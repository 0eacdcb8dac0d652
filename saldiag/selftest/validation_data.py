"""Training and validation items from one distribution, for programs that validate."""

from __future__ import annotations

from typing import Any

import numpy as np

Pair = tuple[Any, Any]


def split_items(data: Pair, count: int) -> tuple[Pair, Pair]:
    """The first ``count`` items and the rest, as (x, y) each."""
    x, y = data
    return (x[:count], y[:count]), (x[count:], y[count:])


def fit_arguments(train: Pair, held_out: Any, *, epochs: int = 10, **more: Any) -> dict[str, Any]:
    """Arguments of ``fit`` for training in batches of eight."""
    return {
        "x": train[0], "y": train[1], "validation_data": held_out, "epochs": epochs,
        "batch_size": 8, **more,
    }  # fmt: skip


def colour_data(seed: int, count: int = 144, side: int = 12, light: float = 1.0) -> Pair:
    """Images (count, side, side, 3) in 0…light, and the channel of their square, (count,)."""
    random = np.random.default_rng(seed)
    x = random.uniform(0, 0.5, size=(count, side, side, 3))
    kinds = np.arange(count) % 3
    for index, kind in enumerate(kinds):
        row, column = random.integers(0, side // 2 + 1, 2)
        x[index, row : row + side // 2, column : column + side // 2, kind] += 0.5
    return (light * x).astype("float32"), kinds.astype("int64")


def square_mask_data(seed: int, count: int = 112, side: int = 16) -> Pair:
    """Images (count, side, side, 3) in 0…1, and masks (…, 1) of their bright square."""
    random = np.random.default_rng(seed)
    x = random.uniform(0, 0.6, size=(count, side, side, 3))
    masks = np.zeros((count, side, side, 1))
    size = side // 2
    for index in range(count):
        row, column = random.integers(0, side - size + 1, 2)
        masks[index, row : row + size, column : column + size] = 1
    return np.clip(x + 0.4 * masks, 0, 1).astype("float32"), masks.astype("float32")


def blob_data(seed: int, count: int = 160, width: int = 8, kinds: int = 4) -> Pair:
    """Standardised inputs (count, width), and integer classes (count,), one Gaussian blob each."""
    random = np.random.default_rng(seed)
    labels = np.arange(count) % kinds
    centres = 3 * np.eye(kinds, width) + random.normal(scale=0.3, size=(kinds, width))
    x = centres[labels] + random.normal(scale=0.7, size=(count, width))
    x = (x - x.mean(0)) / x.std(0)
    return x.astype("float32"), labels.astype("int64")


def price_data(seed: int, count: int = 224, width: int = 6) -> Pair:
    """Standard normal inputs (count, width), and prices (count, 1) of about 300 ± 60."""
    random = np.random.default_rng(seed)
    x = random.normal(size=(count, width)).astype("float32")
    weights = np.array([[1.0], [-1.0], [0.5], [0.5], [0.0], [0.0]])[:width]
    y = 300 + 35 * (x @ weights) + random.normal(scale=2, size=(count, 1))
    return x, y.astype("float32")


__all__ = [
    "Pair",
    "blob_data",
    "colour_data",
    "fit_arguments",
    "price_data",
    "split_items",
    "square_mask_data",
]
