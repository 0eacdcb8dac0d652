"""Log axes with short labels, and positions for labels that do not overlap."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, NullLocator

Array = np.ndarray[Any, Any]


def positive_values(values: Array) -> Array:
    """The values that a log axis can show, flat."""
    flat: Array = np.asarray(values, dtype=float).ravel()
    positive: Array = flat[np.isfinite(flat) & (flat > 0)]
    return positive


def log_limits(values: Array, least: float = 1.0) -> tuple[float, float]:
    """Limits of a log axis around ``values``, at least ``least`` decades apart."""
    positive = positive_values(values)
    if positive.size == 0:
        return 0.1, 1.0
    low, high = np.log10([positive.min(), positive.max()])
    margin = max(0.06 * (high - low), (least - (high - low)) / 2, 0.04)
    # Beyond these exponents matplotlib's arithmetic leaves the range of float64.
    low, high = np.clip([low - margin, high + margin], [-301, -300], [300, 301])
    return float(10**low), float(10**high)


def tick_label(value: float, _: object = None) -> str:
    """Label of a tick: a plain number near 1, otherwise a power of ten."""
    if value <= 0 or not np.isfinite(value):
        return ""
    exponent = np.log10(value)
    if -4 < exponent < 4:
        return f"{value:.4g}"
    mantissa, _, tail = f"{value:.0e}".partition("e")
    superscript = str(int(tail)).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
    return f"10{superscript}" if mantissa == "1" else f"{mantissa}·10{superscript}"


def set_log_y(axes: Axes, low: float, high: float) -> None:
    """Make y a log axis from ``low`` to ``high``, with ticks and labels."""
    axes.set_yscale("log", nonpositive="mask")
    axes.set_ylim(low, high)
    set_log_ticks(axes, low, high)


def set_log_ticks(axes: Axes, low: float, high: float) -> None:
    """Set the ticks of a log y axis: one per decade, more if it has only two or three."""
    decades = np.log10(high) - np.log10(low)
    subs: tuple[float, ...] = (1, 2, 5) if decades < 2.5 else (1,)
    if decades < 0.95:
        subs = (1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 7, 8)
    axes.yaxis.set_major_locator(LogLocator(subs=subs, numticks=10))
    axes.yaxis.set_major_formatter(FuncFormatter(tick_label))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_minor_formatter(NullFormatter())


def spread_apart(positions: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Move ``positions`` apart until they are ``gap`` from each other, within ``low`` and ``high``.

    They keep their order. If there is no room for all of them, the gap shrinks.
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
