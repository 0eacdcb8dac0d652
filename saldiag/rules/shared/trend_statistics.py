"""Robust statistics of short series, in plain NumPy: importing scipy.stats takes half a second."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

MIN_VALUES = 8
"""Fewest values for which Mann-Kendall's normal approximation is good enough."""

MAX_VALUES = 300
"""Longer series are thinned to this many values: the number of pairs grows quadratically."""


def _thin_out(values: Array) -> Array:
    if len(values) <= MAX_VALUES:
        return values
    thin: Array = values[np.linspace(0, len(values) - 1, MAX_VALUES).round().astype(np.int64)]
    return thin


def _index_pairs(values: Array) -> tuple[Array, Array]:
    first, second = np.triu_indices(len(values), k=1)
    return first, second


def theil_sen(x: Array, y: Array) -> float:
    """Median slope over all pairs (Theil 1950; Sen 1968); nan if all ``x`` are equal."""
    x, y = _thin_out(x), _thin_out(y)
    first, second = _index_pairs(x)
    run = x[second] - x[first]
    keep = run != 0
    if not keep.any():
        return math.nan
    return float(np.median((y[second] - y[first])[keep] / run[keep]))


def kendall_tau(y: Array) -> float:
    """Share of rising pairs minus share of falling ones, in [-1, 1] (Kendall 1938)."""
    y = _thin_out(y)
    first, second = _index_pairs(y)
    return float(np.mean(np.sign(y[second] - y[first]))) if len(first) else 0.0


def falling_probability(y: Array) -> float:
    """One-sided p-value of *no falling trend* (Mann 1945; Kendall 1975), corrected for ties.

    1.0 for fewer than eight values, or if all are equal.
    """
    count = len(y)
    if count < MIN_VALUES:
        return 1.0
    # One value at a time: all pairs of 10,000 values would take a gigabyte.
    # Comparing instead of subtracting avoids overflow with very large values.
    signs = (
        int((y[i + 1 :] > y[i]).sum()) - int((y[i + 1 :] < y[i]).sum()) for i in range(count - 1)
    )
    score = float(sum(signs))
    _, ties = np.unique(y, return_counts=True)
    variance = (_variance_term(count) - float(np.sum(_variance_term(ties)))) / 18.0
    if score >= 0 or variance <= 0:
        return 1.0
    return 0.5 * math.erfc(-(score + 1.0) / math.sqrt(2.0 * variance))


def _variance_term(count: Any) -> Any:
    return count * (count - 1.0) * (2.0 * count + 5.0)


def means_over(values: Array, period: int) -> Array:
    """Means over whole periods, which hide the cycle of the batches."""
    whole = len(values) // period
    means: Array = values[: whole * period].reshape(whole, period).mean(axis=1)
    return means


def first_and_last_quarter(values: Array) -> tuple[float, float]:
    """Medians of the first and the last quarter."""
    size = max(1, len(values) // 4)
    return float(np.median(values[:size])), float(np.median(values[-size:]))
