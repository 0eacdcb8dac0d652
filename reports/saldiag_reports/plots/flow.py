"""The gradient norms of the input and the output of every layer call, along the network."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np
import seaborn as sns
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from saldiag.core.measurement import FlowRow, GradientFlow
from saldiag.core.wording import grouped_count, listed_names, shorten_middle
from saldiag_reports.content import layer_order
from saldiag_reports.plots import svg
from saldiag_reports.plots.scales import log_limits, set_log_y

Array = np.ndarray[Any, Any]
MAX_MARKED_CUTS = 3
"""Cuts that are marked in the plot; the line below it counts the others."""

MAX_AXIS_NAMES = 24
"""Names that fit side by side under the axis."""

STRIPS = ("no path", "not finite", "exactly 0")
"""Kinds of values that a log axis cannot show, from the bottom up."""

SERIES = (("|dL/d output|", svg.TRAINING, "o"), ("|dL/d input|", svg.INFERENCE, "D"))
"""Label, colour and marker of both gradients."""


def plot_flow(flow: GradientFlow, cut_layers: Collection[str] = (), name: str = "flow") -> Markup:
    """Both gradient norms at each call of a leaf layer; the input is left, the output right.

    Values that a log axis cannot show are on a strip below: exactly 0, not finite, no path.

    Args:
        flow: the gradients.
        cut_layers: layers that pass no gradient on, as judged; each of their calls is marked.
        name: prefix of the ids in the SVG.
    """
    rows = [row for row in flow.rows if row.leaf] or list(flow.rows)
    if not rows:
        return svg.note_line("No layer call was recorded.")
    outputs = _as_floats([row.output_gradient for row in rows])
    inputs = _as_floats([row.input_gradient for row in rows])
    marked = [i for i, row in enumerate(rows) if row.layer in cut_layers]
    with svg.drawing_style():
        figure = svg.new_figure(4.4)
        kinds = np.stack([_strip_indices(outputs), _strip_indices(inputs)])
        present = [kind for kind in range(len(STRIPS)) if (kinds == kind).any()]
        axes, strip = _axis_and_strip(figure, len(rows), present)
        set_log_y(axes, *log_limits(np.concatenate([outputs, inputs]), least=2))
        for values, series in zip((outputs, inputs), SERIES, strict=True):
            _draw_gradients(axes, values, series)
            _strip_points(strip, _strip_indices(values), present, series)
        _mark_cuts(axes, strip, marked[-MAX_MARKED_CUTS:], rows)
        _label_calls(strip, [row.path for row in rows])
        axes.legend(
            loc="lower left", bbox_to_anchor=(0, 1), ncols=2, borderaxespad=0.2,
            labelcolor=svg.MUTED, handletextpad=0.2,
        )  # fmt: skip
        description = _picture_description(rows, marked)
        picture = svg.inline_svg(figure, name, "Gradient norms along the network", description)
    return picture + svg.note_line(description)


def _as_floats(values: list[float | None]) -> Array:
    return np.array([np.nan if value is None else value for value in values], dtype=float)


def _strip_indices(values: Array) -> Array:
    """Index into ``STRIPS`` of each value; ``len(STRIPS)`` if a log axis can show it."""
    return np.select([np.isnan(values), np.isinf(values), values == 0], [0, 1, 2], len(STRIPS))


def _axis_and_strip(figure: Figure, length: int, present: list[int]) -> tuple[Axes, Axes]:
    """The log axis, and below it a strip with a row for each of the ``present`` kinds."""
    axes, strip = figure.subplots(2, 1, sharex=True, height_ratios=[12, 0.1 + len(present)])
    axes.set_xlim(-0.7, length - 0.3)
    axes.tick_params(axis="x", length=0, labelbottom=False)
    axes.spines["bottom"].set_visible(False)
    strip.set_ylim(-0.6, max(len(present), 1) - 0.4)
    strip.set_yticks(range(len(present)), [STRIPS[kind] for kind in present])
    return axes, strip


def _draw_gradients(axes: Axes, values: Array, series: tuple[str, str, str]) -> None:
    label, colour, marker = series
    positions = np.arange(len(values))
    shown = _strip_indices(values) == len(STRIPS)
    # NaN breaks the line.
    axes.plot(positions, np.where(shown, values, np.nan), color=colour, linewidth=0.9, alpha=0.55)
    style = _point_style(colour, marker, len(values))
    if shown.any():
        sns.scatterplot(x=positions[shown], y=values[shown], ax=axes, clip_on=False, **style)
    axes.scatter([], [], color=colour, marker=marker, s=26, label=label)


def _strip_points(
    strip: Axes, kinds: Array, present: list[int], series: tuple[str, str, str]
) -> None:
    _, colour, marker = series
    positions = np.flatnonzero(kinds < len(STRIPS))
    # Shifted a little, because the series would cover each other.
    shift = 0.17 if marker == "o" else -0.17
    level = np.array([present.index(kinds[position]) + shift for position in positions])
    if positions.size:
        style = _point_style(colour, marker, len(kinds))
        sns.scatterplot(x=positions, y=level, ax=strip, clip_on=False, **style)


def _point_style(colour: str, marker: str, points: int) -> dict[str, Any]:
    area = 26 if points <= 80 else 9
    return {"color": colour, "marker": marker, "s": area, "linewidth": 0, "legend": False}


def _mark_cuts(axes: Axes, strip: Axes, marked: list[int], rows: list[FlowRow]) -> None:
    """Mark each cut by a line through both panels, with its name at the top."""
    for height, index in enumerate(reversed(marked)):
        for panel in (axes, strip):
            panel.axvline(index, color=svg.CUT, linewidth=1.4, zorder=1)
        left = index > len(rows) / 2
        axes.annotate(
            f"cut in {shorten_middle(rows[index].path or '(model)', 40)}",
            xy=(index, 0.97 - 0.08 * height), xycoords=("data", "axes fraction"),
            xytext=(-6 if left else 6, 0), textcoords="offset points",
            ha="right" if left else "left", va="top", color=svg.CUT, fontsize=9,
        )  # fmt: skip


def _label_calls(strip: Axes, paths: list[str]) -> None:
    """Label every call if there is room, else the blocks, else as many blocks as fit."""
    blocks = layer_order.block_ranges(paths)
    if len(paths) <= MAX_AXIS_NAMES:
        blocks = [(i, i + 1, path) for i, path in enumerate(paths)]
    gap = max(len(paths) / MAX_AXIS_NAMES, 1)
    shown: list[tuple[float, str]] = []
    for start, end, text in reversed(blocks):  # cuts are usually near the output
        middle = (start + end - 1) / 2
        if not shown or shown[-1][0] - middle >= gap:
            shown.append((middle, shorten_middle(text or "(model)", 24)))
    strip.set_xticks(
        [position for position, _ in shown], [text for _, text in shown], rotation=35, ha="right",
        rotation_mode="anchor", fontsize=8,
    )  # fmt: skip
    strip.grid(visible=False)


def _picture_description(rows: list[FlowRow], marked: list[int]) -> str:
    reached = sum(bool(row.output_gradient) for row in rows)
    text = (
        f"|dL/d output| is not exactly 0 in {reached} of {grouped_count(len(rows), 'layer call')}. "
    )
    if marked:
        names = listed_names(
            [shorten_middle(rows[i].path, 60) for i in reversed(marked)], MAX_MARKED_CUTS
        )
        text += f"The gradient is cut in {names}. "
    skipped = sum(row.skipped is not None for row in rows)
    text += f"{grouped_count(skipped, 'call')} could not be measured. " if skipped else ""
    return text.strip()
