"""Curves of several runs: one panel a quantity, one colour and mark a run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import seaborn as sns
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from saldiag.core.comparison import Curve
from saldiag.core.wording import grouped_number, shorten_middle
from saldiag_reports.plots import svg
from saldiag_reports.plots.scales import limits, log_y

COLOURS = (svg.TRAINING, svg.INFERENCE, svg.GOOD, svg.CUT, svg.MUTED)
MARKS = ("o", "D", "s", "^", "v")
"""A run is told by its marks as well: on paper, and to those who do not see the colours apart."""
MARKED = 12
"""Marks on a curve; each point of one that is no longer has its own."""
MAX_PANELS = 6
COLUMNS = 3


def plot_curves(curves: Sequence[Curve], names: Sequence[str], name: str = "curves") -> Markup:
    """The curves of all runs, those quantities first that most of the runs have.

    Args:
        curves: one a quantity and run; those of one quantity share a panel.
        names: of the runs.
        name: prefix of ids.
    """
    panels = _panels(curves)
    if not panels:
        return svg.note("No run recorded a curve.")
    shown = panels[:MAX_PANELS]
    columns = 2 if len(shown) == 4 else min(len(shown), COLUMNS)
    rows = -(-len(shown) // columns)
    with svg.drawing():
        figure = svg.figure(0.5 + 2.5 * rows)
        grid = figure.subplots(rows, columns, squeeze=False).ravel()
        for axes, held in zip(grid, shown, strict=False):
            _draw(axes, held)
        for axes in grid[len(shown) :]:
            axes.set_visible(False)
        drawn = sorted({curve.run for held in shown for curve in held})
        figure.legend(
            handles=[_key(run, names[run]) for run in drawn], loc="outside upper left",
            ncols=min(len(drawn), 3), labelcolor=svg.MUTED, handlelength=3,
        )  # fmt: skip
        made = svg.inline(figure, name, "Curves of all runs", _described(shown, names))
    left = len(panels) - len(shown)
    return made + (svg.note(f"{left} more quantities not drawn.") if left else Markup(""))


def _panels(curves: Sequence[Curve]) -> list[list[Curve]]:
    grouped: dict[tuple[str, str], list[Curve]] = {}
    for curve in curves:
        grouped.setdefault((curve.axis, curve.quantity), []).append(curve)
    return sorted(grouped.values(), key=lambda held: -len(held))


def _draw(axes: Axes, curves: Sequence[Curve]) -> None:
    values = np.concatenate([curve.y for curve in curves])
    scale = ""
    if curves[0].axis == "step" and (values[np.isfinite(values)] > 0).all():
        log_y(axes, *limits(values))
        scale = ", log scale"
    for curve in curves:
        y = np.where(np.isfinite(curve.y), curve.y, np.nan)
        sns.lineplot(
            x=curve.x, y=y, ax=axes, errorbar=None, estimator=None, legend=False,
            markevery=max(len(y) // MARKED, 1), **_style(curve.run),
        )  # fmt: skip
    axes.set_title(f"{shorten_middle(curves[0].quantity, 30)}{scale}", loc="left", color=svg.MUTED)
    axes.set_xlabel(curves[0].axis)
    axes.set_ylabel("")
    last = max(float(curve.x.max()) for curve in curves)
    axes.set_xlim(-0.03 * max(last, 1), 1.03 * max(last, 1))
    axes.locator_params(axis="x", integer=True, nbins=5)


def _style(run: int) -> dict[str, Any]:
    place = run % len(COLOURS)
    # With more runs than colours those of the second round are dashed.
    dash = "-" if run < len(COLOURS) else "--"
    return {
        "color": COLOURS[place], "marker": MARKS[place], "linestyle": dash, "linewidth": 1.2,
        "markersize": 4.5, "markeredgewidth": 0,
    }  # fmt: skip


def _key(run: int, name: str) -> Line2D:
    # matplotlib leaves a label out that begins with an underscore: the number comes first.
    return Line2D([], [], label=f"{run + 1}: {shorten_middle(name, 40)}", **_style(run))


def _described(panels: Sequence[Sequence[Curve]], names: Sequence[str]) -> str:
    told = []
    for held in panels:
        ends = [
            f"{shorten_middle(names[c.run], 40)} ends at {grouped_number(float(c.y[-1]))}"
            for c in held
        ]
        told.append(f"{held[0].quantity}: {', '.join(ends)}")
    return "; ".join(told) + "."
