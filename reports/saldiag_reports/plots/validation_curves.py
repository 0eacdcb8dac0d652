"""Loss and ``val_loss`` over the epochs, with the errors in both modes at each check."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes

from saldiag.core.measurement import ActedCallback, TrainingHistory, ValidationCheck
from saldiag.core.wording import grouped_number, listed_names, shorten_middle
from saldiag_reports.plots import svg
from saldiag_reports.plots.loss import BASELINE_LABEL, undrawn_note
from saldiag_reports.plots.scales import log_limits, set_log_y, spread_apart

Array = np.ndarray[Any, Any]

MAX_MARKED_EPOCHS = 4
"""Epochs with a vertical line; the table of callbacks has the others."""
MIN_MAGNITUDE, MAX_MAGNITUDE = 1e-100, 1e100
"""Smaller and larger magnitudes are drawn at these: the axes' arithmetic would overflow."""
MAX_POINTS = 800
"""Points of a curve; of a longer one, the extremes of each segment are drawn."""
MAX_DOTTED_POINTS = 60
"""Curves with at most this many points have dots: a point between two gaps has no line."""

INFERENCE_MODE, TRAINING_MODE, REESTIMATED = "inference mode", "training mode", "re-estimated"
KEPT, STOPPED = "kept", "stopped"
BOTH_MODES = "both modes"
"""Label of points whose error is the same in both modes."""

STYLES: dict[str, dict[str, Any]] = {
    INFERENCE_MODE: {"marker": "o", "markersize": 6, "linestyle": (0, (6, 2))},
    BOTH_MODES: {"marker": "o", "markersize": 6, "linestyle": (0, (6, 2))},
    TRAINING_MODE: {"marker": "s", "markersize": 5, "linestyle": (0, (1, 1.5))},
    # Hollow and larger, so the training-mode marker is visible inside.
    REESTIMATED: {"marker": "D", "markersize": 8, "linestyle": (0, (3, 2)), "hollow": True},
}
"""How each mode is drawn; the colour distinguishes training and validation samples."""


@dataclass(frozen=True)
class _Series:
    """A curve, or the points of the checks, and how it is drawn."""

    label: str
    """Label at the right edge."""
    x: Array
    """Epochs."""
    y: Array
    """Losses or errors, as many as ``x``."""
    colour: str
    """Colour of line, markers and label."""
    style: dict[str, Any]
    """Line style and marker, one of ``STYLES`` for checks."""

    @property
    def last_finite(self) -> float:
        """The last finite value; NaN if there is none."""
        finite = self.y[np.isfinite(self.y)]
        return float(finite[-1]) if finite.size else float("nan")

    @property
    def label_with_value(self) -> str:
        """Label and last finite value; for curves, also whether NaN or infinity follows."""
        nonfinite = "marker" not in self.style and not np.isfinite(self.y[-1:]).all()
        ending = ", then not finite" if nonfinite else ""
        return f"{self.label}  {grouped_number(self.last_finite)}{ending}"


def plot_validation(
    check: ValidationCheck,
    history: TrainingHistory | None = None,
    baseline: float = float("nan"),
    name: str = "validation",
) -> Markup:
    """Loss, ``val_loss`` and the checked errors over the epochs, labelled at the right edge.

    The y axis is logarithmic unless a loss is negative. Vertical lines mark the epochs whose
    weights a callback kept, and the epoch after which it stopped the training.

    Args:
        check: errors on validation and training samples in both modes.
        history: the curves of the training; None if they were not recorded.
        baseline: error of the best prediction that ignores the input; NaN if unknown.
        name: prefix of the ids in the SVG.
    """
    series = [*_loss_series(history), *_check_series(check)]
    marks = epoch_marks(check.callbacks)[:MAX_MARKED_EPOCHS]
    values = np.concatenate([*(one.y for one in series), [baseline]])
    if not np.isfinite(values[:-1]).any():
        return svg.note_line("No finite loss was recorded.")
    logarithmic = not (values[np.isfinite(values)] < 0).any()
    with svg.drawing_style():
        figure = svg.new_figure(4.2 + 0.17 * len(marks))
        axes = figure.subplots()
        _scale_y(axes, values, logarithmic)
        _scale_x(axes, [*(one.x for one in series), np.array([epoch for epoch, _ in marks])])
        for one in series:
            _draw_series(axes, one, logarithmic)
        if np.isfinite(baseline):
            axes.axhline(baseline, color=svg.MUTED, linewidth=0.9, linestyle=(0, (4, 3)))
        _name_ends(axes, series, baseline)
        _draw_marks(axes, marks)
        axes.set_xlabel("epoch")
        scale = ", log scale" if logarithmic else ""
        axes.set_title(
            f"{shorten_middle(check.loss, 40)}{scale}", loc="left", color=svg.MUTED,
            pad=6 + 12 * len(marks),
        )  # fmt: skip
        picture = svg.inline_svg(
            figure, name, "Loss and val_loss, with the errors of both modes",
            _picture_description(series, baseline, marks),
        )  # fmt: skip
    return picture + (undrawn_note(values) if logarithmic else Markup(""))


def _loss_series(history: TrainingHistory | None) -> Iterator[_Series]:
    """``loss`` and ``val_loss`` as the training recorded them."""
    for metric, colour in (("loss", svg.TRAINING), ("val_loss", svg.INFERENCE)):
        if history is not None and metric in history.names:
            y = np.atleast_2d(history.values)[history.names.index(metric)]
            yield _Series(metric, *_flat_pair(history.epochs, y), colour, {"linewidth": 1.8})


def _check_series(check: ValidationCheck) -> Iterator[_Series]:
    """Errors at each check, on validation samples and on training samples."""
    for samples, colour, inference, training, reestimated in (
        ("validation", svg.INFERENCE, check.inference, check.training, check.reestimated),
        ("training samples", svg.TRAINING, check.train_inference, check.train_training,
         check.train_reestimated),
    ):  # fmt: skip
        same = np.array_equal(np.ravel(inference), np.ravel(training), equal_nan=True)
        modes = (
            {BOTH_MODES: inference}
            if same
            else {INFERENCE_MODE: inference, TRAINING_MODE: training}
        )
        for mode, values in {**modes, REESTIMATED: reestimated}.items():
            x, y = _flat_pair(check.checked, values)
            if not np.isnan(y).all():
                yield _Series(f"{samples}, {mode}", x, y, colour, STYLES[mode])


def _flat_pair(x: Array, y: Array) -> tuple[Array, Array]:
    """Both as one-dimensional float arrays of the same length."""
    flat_x, flat_y = np.ravel(x).astype(float), np.ravel(y).astype(float)
    length = min(len(flat_x), len(flat_y))
    return flat_x[:length], flat_y[:length]


def _scale_y(axes: Axes, values: Array, logarithmic: bool) -> None:
    finite = _clip_values(values[np.isfinite(values)])
    if logarithmic:
        set_log_y(axes, *log_limits(finite, least=0.3))
        return
    low, high = float(finite.min()), float(finite.max())
    margin = 0.06 * (high - low) or 0.5 * max(1.0, abs(high))
    axes.set_ylim(low - margin, high + margin)


def _clip_values(values: Array) -> Array:
    """Limit the magnitude of ``values``, except 0, to ``MIN_MAGNITUDE`` and ``MAX_MAGNITUDE``."""
    clipped: Array = np.sign(values) * np.clip(np.abs(values), MIN_MAGNITUDE, MAX_MAGNITUDE)
    return clipped


def _scale_x(axes: Axes, epochs: Sequence[Array]) -> None:
    """Set the range from the first to the last epoch, with a margin for the outer markers."""
    every = np.concatenate(epochs)
    every = every[np.isfinite(every)]
    low, high = (float(every.min()), float(every.max())) if every.size else (1.0, 1.0)
    margin = 0.02 * (high - low) or 0.5
    axes.set_xlim(low - margin, high + margin)
    if high > low:
        axes.locator_params(axis="x", integer=True)
    else:
        axes.set_xticks([low])


def _draw_series(axes: Axes, series: _Series, logarithmic: bool) -> None:
    drawable = np.isfinite(series.y) & ((series.y > 0) if logarithmic else True)
    x, y = series.x, np.where(drawable, _clip_values(series.y), np.nan)
    if "marker" in series.style:
        axes.plot(x, y, linewidth=0.8, color=series.colour, linestyle=series.style["linestyle"])
        axes.plot(x, y, linestyle="", zorder=3, **_marker_style(series))
        return
    x, y = thin_curve(x, y)
    mark = "." if len(y) <= MAX_DOTTED_POINTS else ""
    axes.plot(x, y, color=series.colour, marker=mark, markeredgewidth=0, **series.style)


def _marker_style(series: _Series) -> dict[str, Any]:
    """Marker of a check, in the plot and beside its label."""
    hollow = series.style.get("hollow", False)
    return {
        "marker": series.style["marker"], "markersize": series.style["markersize"],
        "markerfacecolor": "none" if hollow else series.colour, "markeredgecolor": series.colour,
        "markeredgewidth": 1.4 if hollow else 0, "clip_on": False,
    }  # fmt: skip


def thin_curve(x: Array, y: Array, most: int = MAX_POINTS) -> tuple[Array, Array]:
    """At most about ``most`` points of a curve: the lowest and the highest of each segment.

    Spikes of a single epoch and both ends are kept. A segment without finite values keeps one
    point.
    """
    if len(y) <= most:
        return x, y
    kept = {0, len(y) - 1}
    for segment in np.array_split(np.arange(len(y)), most // 2):
        finite = segment[np.isfinite(y[segment])]
        if finite.size:
            kept |= {int(finite[np.argmin(y[finite])]), int(finite[np.argmax(y[finite])])}
        else:
            kept.add(int(segment[0]))
    order = sorted(kept)
    return x[order], y[order]


def _name_ends(axes: Axes, series: Sequence[_Series], baseline: float) -> None:
    """Label all series and the baseline at the right edge, with marker and last value."""
    ends: list[tuple[float, str, str, _Series | None]]
    ends = [
        (one.last_finite, one.label_with_value, one.colour, one)
        for one in series
        if np.isfinite(one.last_finite)
    ]
    if np.isfinite(baseline):
        ends.append((baseline, f"{BASELINE_LABEL}  {grouped_number(baseline)}", svg.MUTED, None))
    to_axes = axes.transData + axes.transAxes.inverted()
    heights = [float(to_axes.transform((0.0, _inside_axis(axes, value)))[1]) for value, *_ in ends]
    placed = spread_apart(heights, 0.066, 0, 1)
    for (_, text, colour, one), height in zip(ends, placed, strict=True):
        key: dict[str, Any] = {"color": colour, "linewidth": 1.8, "clip_on": False}
        x = [1.012, 1.032]
        if one is None:
            key |= {"linewidth": 0.9, "linestyle": (0, (2, 1))}
        elif "marker" in one.style:
            x, key = [1.022], {"linestyle": "", **_marker_style(one)}
        axes.plot(x, [height] * len(x), transform=axes.transAxes, **key)
        axes.text(
            1.042, height, text, transform=axes.transAxes, color=colour, va="center", ha="left",
            fontsize=8,
        )  # fmt: skip


def _inside_axis(axes: Axes, value: float) -> float:
    """``value``, or the limit of the axis beyond which it is."""
    low, high = axes.get_ylim()
    return float(min(max(value, low), high))


def epoch_marks(callbacks: Sequence[ActedCallback]) -> list[tuple[int, str]]:
    """Epoch and label of each action of a callback; equal actions in one epoch share a label."""
    kinds_by_action: dict[tuple[int, str], list[str]] = {}
    for callback in callbacks:
        for epoch, action in ((callback.kept, KEPT), (callback.stopped, STOPPED)):
            if epoch is not None:
                kinds_by_action.setdefault((epoch, action), []).append(callback.kind)
    marks = []
    for (epoch, action), kinds in sorted(kinds_by_action.items()):
        by = shorten_middle(listed_names(list(dict.fromkeys(kinds)), 2), 40)
        event = f"epoch {epoch:,} kept" if action == KEPT else f"stopped after epoch {epoch:,}"
        marks.append((epoch, f"{event} by {by}"))
    return marks


def _draw_marks(axes: Axes, marks: Sequence[tuple[int, str]]) -> None:
    """Draw a vertical line for each mark, with its label above the axes.

    In the left half, labels are right of their lines, in the right half left of them. The outermost
    line of each half is the longest, because lines must not cross labels.
    """
    middle = sum(axes.get_xlim()) / 2
    left = [mark for mark in marks if mark[0] <= middle]
    right = [mark for mark in marks if mark[0] > middle]
    for row, (epoch, label) in enumerate([*right, *reversed(left)]):
        aside: tuple[int, str] = (-4, "right") if row < len(right) else (4, "left")
        line: dict[str, Any] = {"color": svg.INK, "linewidth": 0.9, "linestyle": (0, (2, 2))}
        anchor: dict[str, Any] = {
            "xycoords": axes.get_xaxis_transform(), "textcoords": "offset points",
            "annotation_clip": False,
        }  # fmt: skip
        axes.axvline(epoch, **line)
        axes.annotate(
            "", (epoch, 1), (0, 13 + 12 * row), **anchor,
            arrowprops={"arrowstyle": "-", "shrinkA": 0, "shrinkB": 0, **line},
        )  # fmt: skip
        axes.annotate(
            label, (epoch, 1), (aside[0], 4 + 12 * row), **anchor, color=svg.INK, fontsize=8,
            va="bottom", ha=aside[1],
        )  # fmt: skip


def _picture_description(
    series: Sequence[_Series], baseline: float, marks: Sequence[tuple[int, str]]
) -> str:
    """The labels at the right edge and those of the vertical lines, as text."""
    parts = [
        one.label_with_value.replace("  ", " ") for one in series if np.isfinite(one.last_finite)
    ]
    if np.isfinite(baseline):
        parts.append(f"{BASELINE_LABEL} {grouped_number(baseline)}")
    ends = f"At the end: {'; '.join(parts)}."
    return " ".join([ends, *(f"{label[0].upper()}{label[1:]}." for _, label in marks)])
