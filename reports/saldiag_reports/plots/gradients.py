"""Gradient norms per layer and step as a heat map, in network order."""

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
from saldiag_reports.plots.scales import limits, positive, tick

Array = np.ndarray[Any, Any]
MAX_COLUMNS = 120
"""More steps than these are thinned evenly; the first and the last stay."""

FEW_ROWS = 15

LEAST_DECADES = 3.0
"""Of the colour scale: small differences between layers are no contrast."""

ZERO, ABSENT, BROKEN = "#d1364b", "#b4b9c0", "#f2b632"
SPECIAL = {"exactly 0": ZERO, "no gradient": ABSENT, "not finite": BROKEN}
"""What a log colour scale cannot show has a colour that the scale has not."""


def plot_gradients(
    history: GradientHistory, measured: Measurements, name: str = "gradients"
) -> Markup:
    """Heat map of the gradient norm; layers from input (top) to output (bottom), steps across."""
    layers = layer_order.in_network_order([v.layer for v in history.variables], measured)
    if not layers or len(history.steps) == 0:
        return svg.note("No variable had its gradient recorded at any step.")
    each = layer_order.layer_norms(history, layers)
    # Where no cell has a colour of its own, the picture says one thing: it need not be long.
    gathered = layer_order.rows(layers, layer_order.MAX_ROWS if positive(each).size else FEW_ROWS)
    norms = layer_order.combine(each, layers, gathered)
    columns = _thinned(len(history.steps))
    with svg.drawing():
        figure = svg.figure(0.9 + 0.155 * max(len(gathered), 4))
        axes = figure.subplots()
        _mesh(figure, axes, norms[:, columns])
        _name_rows(axes, gathered)
        _name_steps(axes, np.asarray(history.steps)[columns])
        _legend(axes, norms[:, columns])
        description = _described(norms, len(layers))
        made = svg.inline(figure, name, "Gradient norm per layer and step", description)
    return made + _told(layers, gathered, history, columns)


def _thinned(length: int) -> Array:
    return np.unique(np.linspace(0, length - 1, min(length, MAX_COLUMNS)).round().astype(int))


def _mesh(figure: Figure, axes: Axes, norms: Array) -> None:
    """Colour where a log scale has one, and the special colours over the rest.

    The cells are a bitmap inside the picture: ten thousand squares would be a megabyte of SVG.
    """
    kind = _kinds(norms)
    if positive(norms).size:
        low, high = limits(norms, LEAST_DECADES)
        sns.heatmap(
            np.clip(norms, low, high), mask=kind > 0, ax=axes, cmap="mako", rasterized=True,
            norm=LogNorm(low, high), cbar=False, xticklabels=False, yticklabels=False,
        )  # fmt: skip
        bar = figure.colorbar(axes.collections[0], ax=axes, pad=0.015, aspect=34, fraction=0.03)
        tick(bar.ax, low, high)
        bar.ax.set_title("|g|", fontsize=8, color=svg.MUTED)
        bar.outline.set_visible(False)
        for part in bar.ax.collections:
            part.set_rasterized(True)
    if (kind > 0).any():
        sns.heatmap(
            kind, mask=kind == 0, ax=axes, cmap=ListedColormap(list(SPECIAL.values())),
            vmin=0.5, vmax=3.5, cbar=False, rasterized=True, xticklabels=False, yticklabels=False,
        )  # fmt: skip
    axes.grid(visible=False)


def _kinds(norms: Array) -> Array:
    """0 for a positive number, else 1 exactly zero, 2 no gradient, 3 not finite."""
    return np.select([norms == 0, np.isnan(norms), np.isinf(norms)], [1, 2, 3], 0)


def _name_rows(axes: Axes, gathered: list[layer_order.Row]) -> None:
    axes.set_yticks(
        np.arange(len(gathered)) + 0.5, [row.label() for row in gathered], fontsize=7.5, rotation=0
    )
    axes.set_ylabel("")


def _name_steps(axes: Axes, steps: Array) -> None:
    shown = np.unique(np.linspace(0, len(steps) - 1, min(len(steps), 9)).round().astype(int))
    axes.set_xticks(shown + 0.5, [f"{int(steps[i])}" for i in shown])
    axes.set_xlabel("step")


def _legend(axes: Axes, norms: Array) -> None:
    kinds = set(np.unique(_kinds(norms)).tolist())
    entries = list(enumerate(SPECIAL.items(), start=1))
    patches = [Patch(color=colour, label=text) for i, (text, colour) in entries if i in kinds]
    if patches:
        axes.legend(
            handles=patches, loc="lower left", bbox_to_anchor=(0, 1), ncols=3, borderaxespad=0.2,
            handlelength=1, handleheight=1, labelcolor=svg.MUTED,
        )  # fmt: skip


def _described(norms: Array, layers: int) -> str:
    kinds = _kinds(norms)
    held = positive(norms)
    span = (
        f", from {grouped_number(held.min())} to {grouped_number(held.max())}" if held.size else ""
    )
    return (
        f"{grouped_count(layers, 'layer')} by {grouped_count(norms.shape[1], 'step')}{span}; "
        f"{np.mean(kinds == 1):.0%} of the cells are exactly zero, "
        f"{np.mean(kinds == 2):.0%} have no gradient, {np.mean(kinds == 3):.0%} are not finite."
    )


def _told(
    layers: list[str], gathered: list[layer_order.Row], history: GradientHistory, columns: Array
) -> Markup:
    told = []
    if len(gathered) < len(layers):
        told.append(f"{len(layers)} layers in {len(gathered)} rows, each the L2 norm over its own.")
    if len(columns) < len(history.steps):
        told.append(f"{len(columns)} of {len(history.steps):,} recorded steps shown.")
    if history.dropped_steps:
        told.append(f"{history.dropped_steps:,} earlier steps were not kept.")
    return svg.note(" ".join(told)) if told else Markup("")
