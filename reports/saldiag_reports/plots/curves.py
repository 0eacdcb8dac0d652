"""Curves of several runs: a panel per quantity, a colour and a marker per run."""

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
from saldiag_reports.plots.scales import log_limits, set_log_y

COLOURS = (svg.TRAINING, svg.INFERENCE, svg.GOOD, svg.CUT, svg.MUTED)
MARKERS = ("o", "D", "s", "^", "v")
"""Markers distinguish the runs without colours: on paper, and for colour-blind readers."""
MAX_MARKERS = 12
"""Markers on a curve; a curve with at most as many points has one at each."""
MAX_PANELS = 6
"""Quantities that are drawn; the others are counted."""
MAX_COLUMNS = 3
"""Panels side by side."""


def plot_curves(curves: Sequence[Curve], names: Sequence[str], name: str = "curves") -> Markup:
    """The curves of all runs; the quantities that most runs recorded come first.

    Args:
        curves: one per quantity and run; the curves of a quantity share a panel.
        names: names of the runs.
        name: prefix of the ids in the SVG.
    """
    panels = _grouped_by_quantity(curves)
    if not panels:
        return svg.note_line("No run recorded a curve.")
    shown = panels[:MAX_PANELS]
    columns = 2 if len(shown) == 4 else min(len(shown), MAX_COLUMNS)
    rows = -(-len(shown) // columns)
    with svg.drawing_style():
        figure = svg.new_figure(0.5 + 2.5 * rows)
        grid = figure.subplots(rows, columns, squeeze=False).ravel()
        for axes, panel in zip(grid, shown, strict=False):
            _draw_panel(axes, panel)
        for axes in grid[len(shown) :]:
            axes.set_visible(False)
        drawn = sorted({curve.run for panel in shown for curve in panel})
        figure.legend(
            handles=[_legend_entry(run, names[run]) for run in drawn], loc="outside upper left",
            ncols=min(len(drawn), 3), labelcolor=svg.MUTED, handlelength=3,
        )  # fmt: skip
        picture = svg.inline_svg(
            figure, name, "Curves of all runs", _picture_description(shown, names)
        )
    left = len(panels) - len(shown)
    return picture + (
        svg.note_line(f"Quantities that are not drawn: {left}.") if left else Markup("")
    )


def _grouped_by_quantity(curves: Sequence[Curve]) -> list[list[Curve]]:
    grouped: dict[tuple[str, str], list[Curve]] = {}
    for curve in curves:
        grouped.setdefault((curve.axis, curve.quantity), []).append(curve)
    return sorted(grouped.values(), key=lambda panel: -len(panel))


def _draw_panel(axes: Axes, curves: Sequence[Curve]) -> None:
    values = np.concatenate([curve.y for curve in curves])
    scale = ""
    if curves[0].axis == "step" and (values[np.isfinite(values)] > 0).all():
        set_log_y(axes, *log_limits(values))
        scale = ", log scale"
    for curve in curves:
        y = np.where(np.isfinite(curve.y), curve.y, np.nan)
        sns.lineplot(
            x=curve.x, y=y, ax=axes, errorbar=None, estimator=None, legend=False,
            markevery=max(len(y) // MAX_MARKERS, 1), **_run_style(curve.run),
        )  # fmt: skip
    axes.set_title(f"{shorten_middle(curves[0].quantity, 30)}{scale}", loc="left", color=svg.MUTED)
    axes.set_xlabel(curves[0].axis)
    axes.set_ylabel("")
    last = max(float(curve.x.max()) for curve in curves)
    axes.set_xlim(-0.03 * max(last, 1), 1.03 * max(last, 1))
    axes.locator_params(axis="x", integer=True, nbins=5)


def _run_style(run: int) -> dict[str, Any]:
    index = run % len(COLOURS)
    # If there are more runs than colours, the others reuse them with dashes.
    dash = "-" if run < len(COLOURS) else "--"
    return {
        "color": COLOURS[index], "marker": MARKERS[index], "linestyle": dash, "linewidth": 1.2,
        "markersize": 4.5, "markeredgewidth": 0,
    }  # fmt: skip


def _legend_entry(run: int, name: str) -> Line2D:
    # matplotlib ignores labels that start with an underscore, so the number comes first.
    return Line2D([], [], label=f"{run + 1}: {shorten_middle(name, 40)}", **_run_style(run))


def _picture_description(panels: Sequence[Sequence[Curve]], names: Sequence[str]) -> str:
    parts = []
    for panel in panels:
        ends = [
            f"{shorten_middle(names[c.run], 40)} ends at {grouped_number(float(c.y[-1]))}"
            for c in panel
        ]
        parts.append(f"{panel[0].quantity}: {', '.join(ends)}")
    return "; ".join(parts) + "."
