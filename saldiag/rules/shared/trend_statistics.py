"""Robust statistics of short series. Plain numpy: importing scipy.stats costs half a second."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

FEWEST = 8
"""Below this many values the normal approximation of Mann-Kendall is not good enough."""

MOST = 300
"""Of more values, evenly spaced ones stand for all: the number of pairs grows with the square."""


def _thinned(values: Array) -> Array:
    if len(values) <= MOST:
        return values
    thin: Array = values[np.linspace(0, len(values) - 1, MOST).round().astype(np.int64)]
    return thin


def _pairs(values: Array) -> tuple[Array, Array]:
    first, second = np.triu_indices(len(values), k=1)
    return first, second


def theil_sen(x: Array, y: Array) -> float:
    """Median slope over all pairs (Theil 1950; Sen 1968); ``nan`` below two distinct ``x``."""
    x, y = _thinned(x), _thinned(y)
    first, second = _pairs(x)
    run = x[second] - x[first]
    keep = run != 0
    if not keep.any():
        return math.nan
    return float(np.median((y[second] - y[first])[keep] / run[keep]))


def kendall_tau(y: Array) -> float:
    """Share of rising pairs minus share of falling ones, in [-1, 1] (Kendall 1938)."""
    y = _thinned(y)
    first, second = _pairs(y)
    return float(np.mean(np.sign(y[second] - y[first]))) if len(first) else 0.0


def falling_probability(y: Array) -> float:
    """One-sided p-value of *no falling trend* (Mann 1945; Kendall 1975), corrected for ties.

    1.0 where there are fewer than eight values or all are equal.
    """
    count = len(y)
    if count < FEWEST:
        return 1.0
    # Value by value: all pairs of 10,000 at once would be a gigabyte.
    # Compared, not subtracted: a difference of the largest numbers overflows.
    signs = (
        int((y[i + 1 :] > y[i]).sum()) - int((y[i + 1 :] < y[i]).sum()) for i in range(count - 1)
    )
    score = float(sum(signs))
    _, ties = np.unique(y, return_counts=True)
    variance = (_weight(count) - float(np.sum(_weight(ties)))) / 18.0
    if score >= 0 or variance <= 0:
        return 1.0
    return 0.5 * math.erfc(-(score + 1.0) / math.sqrt(2.0 * variance))


def _weight(count: Any) -> Any:
    return count * (count - 1.0) * (2.0 * count + 5.0)


def means_over(values: Array, period: int) -> Array:
    """Means over whole periods, so that a cycle of batches is not taken for noise or trend."""
    whole = len(values) // period
    means: Array = values[: whole * period].reshape(whole, period).mean(axis=1)
    return means


def first_and_last_quarter(values: Array) -> tuple[float, float]:
    """Medians of the first and of the last quarter."""
    size = max(1, len(values) // 4)
    return float(np.median(values[:size])), float(np.median(values[-size:]))
