"""A heat map of the gradient norms, per layer in network order and per step."""

from __future__ import annotations

from typing import Any

import numpy as np
import seaborn as sns
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap, LogNorm
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from saldiag.core.measurement import GradientHistory, Measurements
from saldiag.core.wording import grouped_count, grouped_number
from saldiag_reports.content import layer_order
from saldiag_reports.plots import svg
from saldiag_reports.plots.scales import log_limits, positive_values, set_log_ticks

Array = np.ndarray[Any, Any]
MAX_COLUMNS = 120
"""Steps that are drawn; of more, an even selection with the first and the last."""

MAX_UNIFORM_ROWS = 15
"""Rows of the plot if no gradient is a positive number."""

MIN_DECADES = 3.0
"""Smallest range of the colour scale; small differences should not look like contrast."""

ZERO, ABSENT, NONFINITE = "#d1364b", "#b4b9c0", "#f2b632"
SPECIAL_COLOURS = {"exactly 0": ZERO, "no gradient": ABSENT, "not finite": NONFINITE}
"""Colours of values that a log scale cannot show; the scale does not contain them."""


def plot_gradients(
    history: GradientHistory, measured: Measurements, name: str = "gradients"
) -> Markup:
    """Heat map of the gradient norms: layers from top (input) to bottom (output), steps across."""
    layers = layer_order.in_network_order([v.layer for v in history.variables], measured)
    if not layers or len(history.steps) == 0:
        return svg.note_line("No gradient was recorded.")
    by_layer = layer_order.layer_norms(history, layers)
    # Without positive numbers all rows look the same, so fewer are enough.
    grouped = layer_order.group_into_rows(
        layers, layer_order.MAX_ROWS if positive_values(by_layer).size else MAX_UNIFORM_ROWS
    )
    norms = layer_order.row_norms(by_layer, layers, grouped)
    columns = _shown_columns(len(history.steps))
    with svg.drawing_style():
        figure = svg.new_figure(0.9 + 0.155 * max(len(grouped), 4))
        axes = figure.subplots()
        _draw_cells(figure, axes, norms[:, columns])
        _label_rows(axes, grouped)
        _label_steps(axes, np.asarray(history.steps)[columns])
        _add_legend(axes, norms[:, columns])
        description = _picture_description(norms, len(layers))
        picture = svg.inline_svg(figure, name, "Gradient norm per layer and step", description)
    return picture + _omission_notes(layers, grouped, history, columns)


def _shown_columns(length: int) -> Array:
    return np.unique(np.linspace(0, length - 1, min(length, MAX_COLUMNS)).round().astype(int))


def _draw_cells(figure: Figure, axes: Axes, norms: Array) -> None:
    """Draw positive norms on a log colour scale, and all other values in their special colours.

    The cells are a bitmap inside the SVG: ten thousand squares would take a megabyte.
    """
    kind = _cell_kinds(norms)
    if positive_values(norms).size:
        low, high = log_limits(norms, MIN_DECADES)
        sns.heatmap(
            np.clip(norms, low, high), mask=kind > 0, ax=axes, cmap="mako", rasterized=True,
            norm=LogNorm(low, high), cbar=False, xticklabels=False, yticklabels=False,
        )  # fmt: skip
        bar = figure.colorbar(axes.collections[0], ax=axes, pad=0.015, aspect=34, fraction=0.03)
        set_log_ticks(bar.ax, low, high)
        bar.ax.set_title("|g|", fontsize=8, color=svg.MUTED)
        bar.outline.set_visible(False)
        for part in bar.ax.collections:
            part.set_rasterized(True)
    if (kind > 0).any():
        sns.heatmap(
            kind, mask=kind == 0, ax=axes, cmap=ListedColormap(list(SPECIAL_COLOURS.values())),
            vmin=0.5, vmax=3.5, cbar=False, rasterized=True, xticklabels=False, yticklabels=False,
        )  # fmt: skip
    axes.grid(visible=False)


def _cell_kinds(norms: Array) -> Array:
    """0: a positive number, 1: exactly 0, 2: no gradient, 3: not finite."""
    return np.select([norms == 0, np.isnan(norms), np.isinf(norms)], [1, 2, 3], 0)


def _label_rows(axes: Axes, grouped: list[layer_order.LayerRow]) -> None:
    axes.set_yticks(
        np.arange(len(grouped)) + 0.5, [row.label() for row in grouped], fontsize=7.5, rotation=0
    )
    axes.set_ylabel("")


def _label_steps(axes: Axes, steps: Array) -> None:
    shown = np.unique(np.linspace(0, len(steps) - 1, min(len(steps), 9)).round().astype(int))
    axes.set_xticks(shown + 0.5, [f"{int(steps[i])}" for i in shown])
    axes.set_xlabel("step")


def _add_legend(axes: Axes, norms: Array) -> None:
    kinds = set(np.unique(_cell_kinds(norms)).tolist())
    entries = list(enumerate(SPECIAL_COLOURS.items(), start=1))
    patches = [Patch(color=colour, label=text) for i, (text, colour) in entries if i in kinds]
    if patches:
        axes.legend(
            handles=patches, loc="lower left", bbox_to_anchor=(0, 1), ncols=3, borderaxespad=0.2,
            handlelength=1, handleheight=1, labelcolor=svg.MUTED,
        )  # fmt: skip


def _picture_description(norms: Array, layers: int) -> str:
    kinds = _cell_kinds(norms)
    positive = positive_values(norms)
    span = (
        f", from {grouped_number(positive.min())} to {grouped_number(positive.max())}"
        if positive.size
        else ""
    )
    return (
        f"{grouped_count(layers, 'layer')} by {grouped_count(norms.shape[1], 'step')}{span}; "
        f"{np.mean(kinds == 1):.0%} of the cells are exactly 0, "
        f"{np.mean(kinds == 2):.0%} have no gradient, {np.mean(kinds == 3):.0%} are not finite."
    )


def _omission_notes(
    layers: list[str],
    grouped: list[layer_order.LayerRow],
    history: GradientHistory,
    columns: Array,
) -> Markup:
    notes = []
    if len(grouped) < len(layers):
        notes.append(
            f"{len(layers)} layers in {len(grouped)} rows, each the L2 norm of its layers."
        )
    if len(columns) < len(history.steps):
        notes.append(f"{len(columns)} of {len(history.steps):,} recorded steps are shown.")
    if history.dropped_steps:
        notes.append(f"{history.dropped_steps:,} earlier steps were not kept.")
    return svg.note_line(" ".join(notes)) if notes else Markup("")
