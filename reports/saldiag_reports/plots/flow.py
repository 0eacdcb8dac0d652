"""Where the signal dies: the gradient before and after every layer call, along the network."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np
import seaborn as sns
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from saldiag.core.measurement import FlowRow, GradientFlow
from saldiag.core.wording import first_names, grouped_count, shorten_middle
from saldiag_reports.content import layer_order
from saldiag_reports.plots import svg
from saldiag_reports.plots.scales import limits, log_y

Array = np.ndarray[Any, Any]
MAX_CUTS = 3
"""Cuts that are marked in the picture; more are told in the line below it."""

MAX_NAMES = 24
"""Names under the axis that fit side by side."""

STRIPS = ("no path", "not finite", "exactly 0")
"""What a log axis cannot show, from the bottom up."""

SERIES = (("|dL/d output|", svg.TRAINING, "o"), ("|dL/d input|", svg.INFERENCE, "D"))


def plot_flow(flow: GradientFlow, dies_in: Collection[str] = (), name: str = "flow") -> Markup:
    """Both gradients at each leaf call, input on the left, output on the right.

    What a log axis cannot show has a strip of its own below: exactly zero, not finite, no path.

    Args:
        flow: the gradients.
        dies_in: layers in which the signal was judged to die; each call of them is marked.
        name: prefix of ids.
    """
    rows = [row for row in flow.rows if row.leaf] or list(flow.rows)
    if not rows:
        return svg.note("No layer call was seen.")
    outputs = _gradients([row.output_gradient for row in rows])
    inputs = _gradients([row.input_gradient for row in rows])
    marked = [i for i, row in enumerate(rows) if row.layer in dies_in]
    with svg.drawing():
        figure = svg.figure(4.4)
        kinds = np.stack([_kinds(outputs), _kinds(inputs)])
        present = [kind for kind in range(len(STRIPS)) if (kinds == kind).any()]
        axes, strip = _panels(figure, len(rows), present)
        log_y(axes, *limits(np.concatenate([outputs, inputs]), least=2))
        for values, series in zip((outputs, inputs), SERIES, strict=True):
            _points(axes, values, series)
            _strip_points(strip, _kinds(values), present, series)
        _mark(axes, strip, marked[-MAX_CUTS:], rows)
        _name_places(strip, [row.path for row in rows])
        axes.legend(
            loc="lower left", bbox_to_anchor=(0, 1), ncols=2, borderaxespad=0.2,
            labelcolor=svg.MUTED, handletextpad=0.2,
        )  # fmt: skip
        described = _described(rows, marked)
        made = svg.inline(figure, name, "Gradient along the network", described)
    return made + svg.note(described)


def _gradients(values: list[float | None]) -> Array:
    return np.array([np.nan if value is None else value for value in values], dtype=float)


def _kinds(values: Array) -> Array:
    """Index into ``STRIPS``, or one past its end where a log axis can show the value."""
    return np.select([np.isnan(values), np.isinf(values), values == 0], [0, 1, 2], len(STRIPS))


def _panels(figure: Figure, length: int, present: list[int]) -> tuple[Axes, Axes]:
    """The log axis, and below it a strip with a row for each kind of value that it cannot show."""
    axes, strip = figure.subplots(2, 1, sharex=True, height_ratios=[12, 0.1 + len(present)])
    axes.set_xlim(-0.7, length - 0.3)
    axes.tick_params(axis="x", length=0, labelbottom=False)
    axes.spines["bottom"].set_visible(False)
    strip.set_ylim(-0.6, max(len(present), 1) - 0.4)
    strip.set_yticks(range(len(present)), [STRIPS[kind] for kind in present])
    return axes, strip


def _points(axes: Axes, values: Array, series: tuple[str, str, str]) -> None:
    label, colour, marker = series
    places = np.arange(len(values))
    shown = _kinds(values) == len(STRIPS)
    # The line breaks where there is nothing to connect.
    axes.plot(places, np.where(shown, values, np.nan), color=colour, linewidth=0.9, alpha=0.55)
    style = _style(colour, marker, len(values))
    if shown.any():
        sns.scatterplot(x=places[shown], y=values[shown], ax=axes, clip_on=False, **style)
    axes.scatter([], [], color=colour, marker=marker, s=26, label=label)


def _strip_points(
    strip: Axes, kinds: Array, present: list[int], series: tuple[str, str, str]
) -> None:
    _, colour, marker = series
    held = np.flatnonzero(kinds < len(STRIPS))
    # A little apart, so that neither series hides the other.
    shift = 0.17 if marker == "o" else -0.17
    level = np.array([present.index(kinds[place]) + shift for place in held])
    if held.size:
        style = _style(colour, marker, len(kinds))
        sns.scatterplot(x=held, y=level, ax=strip, clip_on=False, **style)


def _style(colour: str, marker: str, points: int) -> dict[str, Any]:
    area = 26 if points <= 80 else 9
    return {"color": colour, "marker": marker, "s": area, "linewidth": 0, "legend": False}


def _mark(axes: Axes, strip: Axes, marked: list[int], rows: list[FlowRow]) -> None:
    """A line through both panels at each cut, named at its head."""
    for height, index in enumerate(reversed(marked)):
        for panel in (axes, strip):
            panel.axvline(index, color=svg.CUT, linewidth=1.4, zorder=1)
        left = index > len(rows) / 2
        axes.annotate(
            f"dies in {shorten_middle(rows[index].path or '(model)', 40)}",
            xy=(index, 0.97 - 0.08 * height), xycoords=("data", "axes fraction"),
            xytext=(-6 if left else 6, 0), textcoords="offset points",
            ha="right" if left else "left", va="top", color=svg.CUT, fontsize=9,
        )  # fmt: skip


def _name_places(strip: Axes, paths: list[str]) -> None:
    """Name every call where there is room, else the blocks, else as many blocks as fit."""
    blocks = layer_order.labelled_blocks(paths)
    if len(paths) <= MAX_NAMES:
        blocks = [(i, i + 1, path) for i, path in enumerate(paths)]
    gap = max(len(paths) / MAX_NAMES, 1)
    shown: list[tuple[float, str]] = []
    for start, end, text in reversed(blocks):  # the output's end is where signals die
        middle = (start + end - 1) / 2
        if not shown or shown[-1][0] - middle >= gap:
            shown.append((middle, shorten_middle(text or "(model)", 24)))
    strip.set_xticks(
        [place for place, _ in shown], [text for _, text in shown], rotation=35, ha="right",
        rotation_mode="anchor", fontsize=8,
    )  # fmt: skip
    strip.grid(visible=False)


def _described(rows: list[FlowRow], marked: list[int]) -> str:
    reached = sum(bool(row.output_gradient) for row in rows)
    calls = grouped_count(len(rows), "layer call")
    text = f"|dL/d output| is not exactly zero in {reached} of {calls}. "
    if marked:
        names = first_names([shorten_middle(rows[i].path, 60) for i in reversed(marked)], MAX_CUTS)
        text += f"The signal dies in {names}. "
    skipped = sum(row.skipped is not None for row in rows)
    text += f"{grouped_count(skipped, 'call')} could not be followed. " if skipped else ""
    return text.strip()
