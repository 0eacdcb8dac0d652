"""Layers in network order, and hundreds of them gathered into a few dozen rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np

from saldiag.core.measurement import GradientHistory, Measurements, Wiring
from saldiag.core.wording import shorten_middle

Array = np.ndarray[Any, Any]
MAX_ROWS = 60
"""More rows than these cannot be told apart on a page."""


@dataclass(frozen=True)
class Row:
    """Consecutive layers of one block, drawn as one row; ``whole`` says that they are all of it."""

    layers: tuple[str, ...]
    whole: bool = False

    def label(self, limit: int = 34) -> str:
        """A name of about ``limit`` characters."""
        first, last = self.layers[0], self.layers[-1]
        if len(self.layers) == 1:
            return shorten_middle(first or "(model)", limit)
        if self.whole:
            return f"{shorten_middle(block_of(first), limit - 14)} ({len(self.layers)} layers)"
        tail = shorten_middle(last.rpartition("/")[2], limit * 2 // 5)
        return f"{shorten_middle(first, limit - 3 - len(tail))} … {tail}"


def in_network_order(layers: Sequence[str], measured: Measurements) -> list[str]:
    """Each layer once, in the order of its first call; without a wiring, in the order given."""
    distinct = list(dict.fromkeys(layers))
    wiring = measured.get(Wiring)
    if wiring is None:
        return distinct
    order = wiring.order()
    return sorted(distinct, key=lambda layer: order.get(layer, len(order)))


def block_of(layer: str) -> str:
    """The top-level block that a layer path lies in."""
    return layer.partition("/")[0]


def rows(layers: Sequence[str], most: int = MAX_ROWS) -> list[Row]:
    """At most ``most`` rows: runs of equal length within each block, as short as they can be."""
    blocks = [list(group) for _, group in groupby(layers, key=block_of)]
    if len(blocks) > most:  # no structure to keep to: cut the whole row of layers evenly
        blocks = [list(layers)]
    length = 1
    while sum(-(-len(block) // length) for block in blocks) > most:
        length += 1
    return [
        _row(block[start : start + length], len(block))
        for block in blocks
        for start in range(0, len(block), length)
    ]


def _row(layers: list[str], block_size: int) -> Row:
    whole = len(layers) == block_size and block_of(layers[0]) == block_of(layers[-1])
    return Row(tuple(layers), whole)


def layer_norms(history: GradientHistory, layers: Sequence[str]) -> Array:
    """Gradient norm of each layer at each recorded step, from those of its variables.

    Returns:
        Shape (layers, T): L2 over the layer's variables; ``nan`` where none has a gradient.
    """
    owners = np.array([variable.layer for variable in history.variables], dtype=object)
    norm = np.asarray(history.norm, dtype=float).reshape(len(history.steps), len(owners))
    return np.array([_joined(norm[:, owners == layer]) for layer in layers]).reshape(
        len(layers), len(history.steps)
    )


def _joined(norm: Array) -> Array:
    """L2 norm over the last axis; ``nan`` counts as absent, infinity stays."""
    present = ~np.isnan(norm)
    largest = np.max(np.where(present, norm, 0), axis=1, initial=0)
    # Scaled by the largest, so that squaring neither overflows nor vanishes.
    scale = np.where((largest > 0) & np.isfinite(largest), largest, 1)
    with np.errstate(over="ignore"):
        total = scale * np.sqrt(np.sum(np.where(present, norm / scale[:, None], 0) ** 2, axis=1))
    return np.where(present.any(axis=1), total, np.nan)


def combine(norms: Array, layers: Sequence[str], gathered: Sequence[Row]) -> Array:
    """Norms of layers (L, T) to norms of rows (R, T)."""
    index = {layer: position for position, layer in enumerate(layers)}
    picked = [norms[[index[layer] for layer in row.layers]] for row in gathered]
    return np.array([_joined(part.T) for part in picked]).reshape(len(gathered), norms.shape[1])


def labelled_blocks(
    paths: Sequence[str], key: Callable[[str], str] = block_of
) -> list[tuple[int, int, str]]:
    """Runs of paths in the same block: first position, one past the last, name."""
    found = []
    start = 0
    for name, group in groupby(paths, key=key):
        length = len(list(group))
        found.append((start, start + length, name))
        start += length
    return found
