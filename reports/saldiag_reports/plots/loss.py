"""The overfit test and the training: losses and errors, compared with the baselines."""

from __future__ import annotations

from typing import Any

import numpy as np
import seaborn as sns
from markupsafe import Markup
from matplotlib.axes import Axes

from saldiag.core.measurement import OverfitHistory, TrainingHistory
from saldiag.core.wording import grouped_count, grouped_number, shorten_middle
from saldiag_reports.plots import svg
from saldiag_reports.plots.scales import log_limits, positive_values, set_log_y, spread_apart

Array = np.ndarray[Any, Any]
BASELINE_LABEL = "baseline error"
"""Label of the error of the best prediction that ignores the input."""


def plot_overfit(history: OverfitHistory, name: str = "overfit") -> Markup:
    """Loss per step, errors in both modes, and the baselines as labelled lines, on a log axis."""
    tenth = history.baseline_independent / 10
    references = [
        (history.baseline_constant, "best constant"),
        (history.baseline_independent, BASELINE_LABEL),
        (tenth, "a tenth of it: the model learns"),
    ]
    with svg.drawing_style():
        figure = svg.new_figure(3.9)
        axes = figure.subplots()
        everything = np.concatenate([
            np.ravel(history.loss),
            np.ravel(history.training_error),
            np.ravel(history.inference_error),
            [history.recalibrated_error, *(value for value, _ in references)],
        ])  # fmt: skip
        set_log_y(axes, *log_limits(everything))
        last = int(max([*np.ravel(history.steps), *np.ravel(history.checked), 1]))
        axes.set_xlim(0, last)
        axes.locator_params(axis="x", integer=True)
        _draw_line(axes, history.steps, history.loss, svg.BATCH, marker="")
        _draw_line(axes, history.checked, history.inference_error, svg.INFERENCE)
        _draw_line(axes, history.checked, history.training_error, svg.TRAINING)
        _draw_recalibrated(axes, history, last)
        for value, _ in references:
            axes.axhline(value, color=svg.MUTED, linewidth=0.9, linestyle=(0, (4, 3)))
        _end_labels(axes, _labelled_ends(history, references))
        axes.set_xlabel("step")
        axes.set_title(
            f"{shorten_middle(history.metric, 40)}, log scale", loc="left", color=svg.MUTED
        )
        return svg.inline_svg(
            figure, name, "Loss in both modes against the baselines", _picture_description(history)
        ) + undrawn_note(everything)


def _draw_line(axes: Axes, x: Array, y: Array, colour: str, marker: str = "o") -> None:
    x, y = np.ravel(x), np.ravel(y).astype(float)
    length = min(len(x), len(y))
    if length == 0:
        return
    y = np.where(np.isfinite(y) & (y > 0), y, np.nan)[:length]
    # Markers only on curves with few points; on others they would overlap.
    mark = {"marker": marker, "markeredgewidth": 0} if marker and length <= 60 else {}
    sns.lineplot(
        x=x[:length], y=y, ax=axes, color=colour, errorbar=None, estimator=None, legend=False,
        linewidth=1.1 if not marker else 1.8, **mark,
    )  # fmt: skip
    axes.set_ylabel("")


def _draw_recalibrated(axes: Axes, history: OverfitHistory, last: int) -> None:
    if positive_values(np.array([history.recalibrated_error])).size:
        axes.plot(
            [last], [history.recalibrated_error], marker="D", markersize=7, clip_on=False,
            markerfacecolor=svg.PAPER, markeredgecolor=svg.INFERENCE, markeredgewidth=1.5,
        )  # fmt: skip


def _labelled_ends(
    history: OverfitHistory, references: list[tuple[float, str]]
) -> list[tuple[float, str, str]]:
    """Value, label and colour of each line that is labelled at the right edge."""
    curves = [
        (last_positive(history.training_error), "training mode", svg.TRAINING),
        (last_positive(history.inference_error), "inference mode", svg.INFERENCE),
        (history.recalibrated_error, "inference, statistics re-estimated", svg.INFERENCE),
        (last_positive(history.loss), "batch loss", svg.BATCH),
    ]
    lines = [(value, label, svg.MUTED) for value, label in references]
    return [(v, text, colour) for v, text, colour in curves + lines if np.isfinite(v) and v > 0]


def last_positive(values: Array) -> float:
    """The last value that a log axis can show; NaN if there is none."""
    positive = positive_values(values)
    return float(positive[-1]) if positive.size else float("nan")


def _end_labels(axes: Axes, ends: list[tuple[float, str, str]]) -> None:
    """Label the lines at their right end; labels that would overlap are moved apart."""
    low, high = np.log10(axes.get_ylim())
    heights = [(np.log10(value) - low) / (high - low) for value, _, _ in ends]
    for (value, text, colour), height in zip(ends, spread_apart(heights, 0.062, 0, 1), strict=True):
        axes.text(
            1.015, height, f"{text}  {grouped_number(value)}", transform=axes.transAxes,
            color=colour, va="center", ha="left", fontsize=8,
        )  # fmt: skip


def _picture_description(history: OverfitHistory) -> str:
    steps = grouped_count(int(np.size(history.steps)), "step")
    training = grouped_number(last_positive(history.training_error))
    inference = grouped_number(last_positive(history.inference_error))
    return (
        f"After {steps} on {grouped_count(history.items, 'sample')}: training-mode error "
        f"{training}, inference-mode error {inference}; best constant "
        f"{grouped_number(history.baseline_constant)}, {BASELINE_LABEL} "
        f"{grouped_number(history.baseline_independent)}."
    )


def undrawn_note(values: Array) -> Markup:
    """A note on how many points the log axis cannot show; empty if it shows all."""
    zeros = int(np.sum(np.isfinite(values) & (values <= 0)))
    infinite = int(np.sum(np.isinf(values)))
    parts = [f"{grouped_count(zeros, 'value')} of 0 or less" if zeros else ""]
    parts.append(f"{grouped_count(infinite, 'infinite value')}" if infinite else "")
    text = " and ".join(part for part in parts if part)
    return svg.note_line(f"Not on the log axis: {text}.") if text else Markup("")


def plot_training(history: TrainingHistory, name: str = "training") -> Markup:
    """Learning curves over the epochs: a panel per metric, with its validation curve."""
    pairs = _metrics_with_validation(history.names)
    with svg.drawing_style():
        rows = max((len(pairs) + 2) // 3, 1)
        figure = svg.new_figure(2.1 * rows)
        grid = figure.subplots(rows, 3, squeeze=False).ravel()
        for axes, (title, curves) in zip(grid, pairs.items(), strict=False):
            for index, validation in curves:
                colour = svg.INFERENCE if validation else svg.TRAINING
                _draw_curve(axes, history.epochs, np.atleast_2d(history.values)[index], colour)
            axes.set_title(shorten_middle(title, 26), loc="left")
        for axes in grid[len(pairs) :]:
            axes.set_visible(False)
        return svg.inline_svg(
            figure, name, "Learning curves", "Training in one colour, validation in the other."
        )


def _metrics_with_validation(names: tuple[str, ...]) -> dict[str, list[tuple[int, bool]]]:
    """Group ``loss`` with ``val_loss``: title to (index, whether it is validation)."""
    pairs: dict[str, list[tuple[int, bool]]] = {}
    for index, text in enumerate(names[:30]):  # more panels would be unreadable
        pairs.setdefault(text.removeprefix("val_"), []).append((index, text.startswith("val_")))
    return pairs


def _draw_curve(axes: Axes, x: Array, y: Array, colour: str) -> None:
    y = np.where(np.isfinite(y), y, np.nan).astype(float)
    sns.lineplot(x=x, y=y, ax=axes, color=colour, errorbar=None, estimator=None, legend=False)
    axes.set_xlabel("")
    axes.set_ylabel("")
    axes.locator_params(axis="x", integer=True, nbins=5)
    axes.locator_params(axis="y", nbins=5)
