"""Log axes whose labels are short, and labels that do not cover each other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, NullLocator

Array = np.ndarray[Any, Any]


def positive(values: Array) -> Array:
    """The values that a log axis can hold."""
    flat: Array = np.asarray(values, dtype=float).ravel()
    held: Array = flat[np.isfinite(flat) & (flat > 0)]
    return held


def limits(values: Array, least: float = 1.0) -> tuple[float, float]:
    """Bounds of a log axis around ``values`` with a margin, at least ``least`` decades apart."""
    held = positive(values)
    if held.size == 0:
        return 0.1, 1.0
    low, high = np.log10([held.min(), held.max()])
    margin = max(0.06 * (high - low), (least - (high - low)) / 2, 0.04)
    # Beyond these exponents a double ends, and matplotlib's own arithmetic with it.
    low, high = np.clip([low - margin, high + margin], [-301, -300], [300, 301])
    return float(10**low), float(10**high)


def power(value: float, _: object = None) -> str:
    """A tick's label: plain near 1, a power of ten further away."""
    if value <= 0 or not np.isfinite(value):
        return ""
    exponent = np.log10(value)
    if -4 < exponent < 4:
        return f"{value:.4g}"
    mantissa, _, tail = f"{value:.0e}".partition("e")
    superscript = str(int(tail)).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
    return f"10{superscript}" if mantissa == "1" else f"{mantissa}·10{superscript}"


def log_y(axes: Axes, low: float, high: float) -> None:
    """Make y a log axis from ``low`` to ``high``, with a tick per decade, or finer in two or so."""
    axes.set_yscale("log", nonpositive="mask")
    axes.set_ylim(low, high)
    tick(axes, low, high)


def tick(axes: Axes, low: float, high: float) -> None:
    """Ticks and labels of a y axis that is a log axis from ``low`` to ``high``."""
    decades = np.log10(high) - np.log10(low)
    subs: tuple[float, ...] = (1, 2, 5) if decades < 2.5 else (1,)
    if decades < 0.95:
        subs = (1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 7, 8)
    axes.yaxis.set_major_locator(LogLocator(subs=subs, numticks=10))
    axes.yaxis.set_major_formatter(FuncFormatter(power))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_minor_formatter(NullFormatter())


def spread(positions: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Move ``positions`` apart until they are ``gap`` from each other, within the bounds.

    They keep their order. Where the bounds cannot hold them all, the gap shrinks.
    """
    if not positions:
        return []
    gap = min(gap, (high - low) / max(len(positions) - 1, 1))
    order = np.argsort(positions, kind="stable")
    placed = np.clip(np.asarray(positions, dtype=float)[order], low, high)
    for index in range(1, len(placed)):
        placed[index] = max(placed[index], placed[index - 1] + gap)
    placed[-1] = min(placed[-1], high)
    for index in range(len(placed) - 2, -1, -1):
        placed[index] = min(placed[index], placed[index + 1] - gap)
    result = np.empty(len(placed))
    result[order] = placed
    return [float(value) for value in result]
