"""The overfit test: error in both modes against what can be had without looking at the input."""

from __future__ import annotations

from typing import Any

import numpy as np
import seaborn as sns
from markupsafe import Markup
from matplotlib.axes import Axes

from saldiag.core.measurement import OverfitHistory, TrainingHistory
from saldiag.core.wording import grouped_count, grouped_number, shorten_middle
from saldiag_reports.plots import svg
from saldiag_reports.plots.scales import limits, log_y, positive, spread

Array = np.ndarray[Any, Any]
BEST = "best fixed prediction"
"""How the input-independent baseline is called in the report."""


def plot_overfit(history: OverfitHistory, name: str = "overfit") -> Markup:
    """Loss per step, error in both modes, and the baselines as labelled lines; y is a log axis."""
    tenth = history.baseline_independent / 10
    references = [
        (history.baseline_constant, "best constant"),
        (history.baseline_independent, BEST),
        (tenth, "a tenth of it: learns"),
    ]
    with svg.drawing():
        figure = svg.figure(3.9)
        axes = figure.subplots()
        everything = np.concatenate([
            np.ravel(history.loss),
            np.ravel(history.training_error),
            np.ravel(history.inference_error),
            [history.recalibrated_error, *(value for value, _ in references)],
        ])  # fmt: skip
        log_y(axes, *limits(everything))
        last = int(max([*np.ravel(history.steps), *np.ravel(history.checked), 1]))
        axes.set_xlim(0, last)
        axes.locator_params(axis="x", integer=True)
        _line(axes, history.steps, history.loss, svg.BATCH, marker="")
        _line(axes, history.checked, history.inference_error, svg.INFERENCE)
        _line(axes, history.checked, history.training_error, svg.TRAINING)
        _recalibrated(axes, history, last)
        for value, _ in references:
            axes.axhline(value, color=svg.MUTED, linewidth=0.9, linestyle=(0, (4, 3)))
        _end_labels(axes, _ends(history, references))
        axes.set_xlabel("step")
        axes.set_title(
            f"{shorten_middle(history.metric, 40)}, log scale", loc="left", color=svg.MUTED
        )
        return svg.inline(
            figure, name, "Loss in both modes against the baselines", _described(history)
        ) + undrawn(everything)


def _line(axes: Axes, x: Array, y: Array, colour: str, marker: str = "o") -> None:
    x, y = np.ravel(x), np.ravel(y).astype(float)
    length = min(len(x), len(y))
    if length == 0:
        return
    y = np.where(np.isfinite(y) & (y > 0), y, np.nan)[:length]
    # Few points carry a mark each; many would be a caterpillar.
    mark = {"marker": marker, "markeredgewidth": 0} if marker and length <= 60 else {}
    sns.lineplot(
        x=x[:length], y=y, ax=axes, color=colour, errorbar=None, estimator=None, legend=False,
        linewidth=1.1 if not marker else 1.8, **mark,
    )  # fmt: skip
    axes.set_ylabel("")


def _recalibrated(axes: Axes, history: OverfitHistory, last: int) -> None:
    if positive(np.array([history.recalibrated_error])).size:
        axes.plot(
            [last], [history.recalibrated_error], marker="D", markersize=7, clip_on=False,
            markerfacecolor=svg.PAPER, markeredgecolor=svg.INFERENCE, markeredgewidth=1.5,
        )  # fmt: skip


def _ends(
    history: OverfitHistory, references: list[tuple[float, str]]
) -> list[tuple[float, str, str]]:
    """Value, label and colour of everything that is named at the right edge."""
    curves = [
        (last_positive(history.training_error), "training mode", svg.TRAINING),
        (last_positive(history.inference_error), "inference mode", svg.INFERENCE),
        (history.recalibrated_error, "inference, statistics renewed", svg.INFERENCE),
        (last_positive(history.loss), "batch loss", svg.BATCH),
    ]
    lines = [(value, label, svg.MUTED) for value, label in references]
    return [(v, text, colour) for v, text, colour in curves + lines if np.isfinite(v) and v > 0]


def last_positive(values: Array) -> float:
    """The last value that a log axis can hold; nan if there is none."""
    held = positive(values)
    return float(held[-1]) if held.size else float("nan")


def _end_labels(axes: Axes, ends: list[tuple[float, str, str]]) -> None:
    """Name the lines at their right end, moved apart where they would cover each other."""
    low, high = np.log10(axes.get_ylim())
    heights = [(np.log10(value) - low) / (high - low) for value, _, _ in ends]
    for (value, text, colour), height in zip(ends, spread(heights, 0.062, 0, 1), strict=True):
        axes.text(
            1.015, height, f"{text}  {grouped_number(value)}", transform=axes.transAxes,
            color=colour, va="center", ha="left", fontsize=8,
        )  # fmt: skip


def _described(history: OverfitHistory) -> str:
    return (
        f"After {grouped_count(int(np.size(history.steps)), 'step')} on "
        f"{grouped_count(history.items, 'item')}: "
        f"training mode {grouped_number(last_positive(history.training_error))}, inference mode "
        f"{grouped_number(last_positive(history.inference_error))}; best constant "
        f"{grouped_number(history.baseline_constant)}, best fixed prediction "
        f"{grouped_number(history.baseline_independent)}."
    )


def undrawn(values: Array) -> Markup:
    """Say how many points a log axis cannot show."""
    zeros = int(np.sum(np.isfinite(values) & (values <= 0)))
    infinite = int(np.sum(np.isinf(values)))
    told = [f"{grouped_count(zeros, 'value')} of 0 or below" if zeros else ""]
    told.append(f"{grouped_count(infinite, 'infinite value')}" if infinite else "")
    text = " and ".join(part for part in told if part)
    return svg.note(f"Not on the log axis: {text}.") if text else Markup("")


def plot_training(history: TrainingHistory, name: str = "training") -> Markup:
    """Learning curves over the epochs: one panel for each scalar, with its validation twin."""
    pairs = _paired(history.names)
    with svg.drawing():
        rows = max((len(pairs) + 2) // 3, 1)
        figure = svg.figure(2.1 * rows)
        grid = figure.subplots(rows, 3, squeeze=False).ravel()
        for axes, (title, curves) in zip(grid, pairs.items(), strict=False):
            for index, validation in curves:
                colour = svg.INFERENCE if validation else svg.TRAINING
                _curve(axes, history.epochs, np.atleast_2d(history.values)[index], colour)
            axes.set_title(shorten_middle(title, 26), loc="left")
        for axes in grid[len(pairs) :]:
            axes.set_visible(False)
        return svg.inline(
            figure, name, "Learning curves", "Training in one colour, validation in the other."
        )


def _paired(names: tuple[str, ...]) -> dict[str, list[tuple[int, bool]]]:
    """Group ``loss`` with ``val_loss``: title to (index, whether it is validation)."""
    pairs: dict[str, list[tuple[int, bool]]] = {}
    for index, text in enumerate(names[:30]):  # more panels than these are no picture
        pairs.setdefault(text.removeprefix("val_"), []).append((index, text.startswith("val_")))
    return pairs


def _curve(axes: Axes, x: Array, y: Array, colour: str) -> None:
    y = np.where(np.isfinite(y), y, np.nan).astype(float)
    sns.lineplot(x=x, y=y, ax=axes, color=colour, errorbar=None, estimator=None, legend=False)
    axes.set_xlabel("")
    axes.set_ylabel("")
    axes.locator_params(axis="x", integer=True, nbins=5)
    axes.locator_params(axis="y", nbins=5)
