"""Layers in network order, and the grouping of many layers into a few rows."""

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
"""Rows of a plot; more could not be distinguished on a page."""


@dataclass(frozen=True)
class LayerRow:
    """Consecutive layers that share a row of a plot or a table."""

    layers: tuple[str, ...]
    """Paths of the layers, at least one."""
    whole: bool = False
    """Whether they are all layers of one block."""

    def label(self, limit: int = 34) -> str:
        """A name for the row, of at most about ``limit`` characters."""
        first, last = self.layers[0], self.layers[-1]
        if len(self.layers) == 1:
            return shorten_middle(first or "(model)", limit)
        if self.whole:
            return f"{shorten_middle(block_of(first), limit - 14)} ({len(self.layers)} layers)"
        tail = shorten_middle(last.rpartition("/")[2], limit * 2 // 5)
        return f"{shorten_middle(first, limit - 3 - len(tail))} … {tail}"


def in_network_order(layers: Sequence[str], measured: Measurements) -> list[str]:
    """Each layer once, in the order of its first call; in the given order without a ``Wiring``."""
    distinct = list(dict.fromkeys(layers))
    wiring = measured.get(Wiring)
    if wiring is None:
        return distinct
    order = wiring.order()
    return sorted(distinct, key=lambda layer: order.get(layer, len(order)))


def block_of(layer: str) -> str:
    """The first part of a layer's path."""
    return layer.partition("/")[0]


def group_into_rows(layers: Sequence[str], most: int = MAX_ROWS) -> list[LayerRow]:
    """At most ``most`` rows of consecutive layers. Rows end at the end of a block.

    With more than ``most`` blocks, rows cross the blocks.
    """
    blocks = [list(group) for _, group in groupby(layers, key=block_of)]
    if len(blocks) > most:  # one row per block would be too many
        blocks = [list(layers)]
    length = 1
    while sum(-(-len(block) // length) for block in blocks) > most:
        length += 1
    return [
        _row_of_block(block[start : start + length], len(block))
        for block in blocks
        for start in range(0, len(block), length)
    ]


def _row_of_block(layers: list[str], block_size: int) -> LayerRow:
    whole = len(layers) == block_size and block_of(layers[0]) == block_of(layers[-1])
    return LayerRow(tuple(layers), whole)


def layer_norms(history: GradientHistory, layers: Sequence[str]) -> Array:
    """Gradient norm of each layer at each of the T recorded steps.

    Returns:
        Shape (layers, T): L2 norm over the layer's variables; NaN if none has a gradient.
    """
    owners = np.array([variable.layer for variable in history.variables], dtype=object)
    norm = np.asarray(history.norm, dtype=float).reshape(len(history.steps), len(owners))
    return np.array([_combined_norm(norm[:, owners == layer]) for layer in layers]).reshape(
        len(layers), len(history.steps)
    )


def _combined_norm(norm: Array) -> Array:
    """L2 norm over the last axis. NaN entries are ignored; NaN if all are. Infinity stays."""
    present = ~np.isnan(norm)
    largest = np.max(np.where(present, norm, 0), axis=1, initial=0)
    # Scaled by the largest value: squares could overflow or underflow.
    scale = np.where((largest > 0) & np.isfinite(largest), largest, 1)
    with np.errstate(over="ignore"):
        total = scale * np.sqrt(np.sum(np.where(present, norm / scale[:, None], 0) ** 2, axis=1))
    return np.where(present.any(axis=1), total, np.nan)


def row_norms(norms: Array, layers: Sequence[str], grouped: Sequence[LayerRow]) -> Array:
    """Combine norms of layers, shape (L, T), into norms of rows, shape (R, T)."""
    index = {layer: position for position, layer in enumerate(layers)}
    picked = [norms[[index[layer] for layer in row.layers]] for row in grouped]
    return np.array([_combined_norm(part.T) for part in picked]).reshape(
        len(grouped), norms.shape[1]
    )


def block_ranges(
    paths: Sequence[str], key: Callable[[str], str] = block_of
) -> list[tuple[int, int, str]]:
    """Runs of paths in the same block: first index, one past the last index, name of the block."""
    ranges = []
    start = 0
    for name, group in groupby(paths, key=key):
        length = len(list(group))
        ranges.append((start, start + length, name))
        start += length
    return ranges
