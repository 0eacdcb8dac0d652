"""Loss and ``val_loss`` over the epochs, with the errors of both modes that were checked."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes

from saldiag.core.measurement import ActedCallback, TrainingHistory, ValidationCheck
from saldiag.core.wording import first_names, grouped_number, shorten_middle
from saldiag_reports.plots import svg
from saldiag_reports.plots.loss import BEST, undrawn
from saldiag_reports.plots.scales import limits, log_y, spread

Array = np.ndarray[Any, Any]

MAX_MARKS = 4
"""Epochs that get a vertical line; the table of the callbacks has the rest."""
SMALLEST, LARGEST = 1e-100, 1e100
"""What is closer to 0 or further from it is drawn at these: axes compute with their powers."""
MAX_POINTS = 800
"""Epochs of a curve that are drawn one by one; of more, the extremes of each stretch."""
MARKED = 60
"""Points of a curve up to which each has a dot: one between two gaps is seen by it alone."""

INFERENCE_MODE, TRAINING_MODE, REESTIMATED = "inference mode", "training mode", "re-estimated"
KEPT, STOPPED = "kept", "stopped"
BOTH_MODES = "both modes"
"""Label of a model that computes the same in both modes."""

STYLES: dict[str, dict[str, Any]] = {
    INFERENCE_MODE: {"marker": "o", "markersize": 6, "linestyle": (0, (6, 2))},
    BOTH_MODES: {"marker": "o", "markersize": 6, "linestyle": (0, (6, 2))},
    TRAINING_MODE: {"marker": "s", "markersize": 5, "linestyle": (0, (1, 1.5))},
    # Hollow and the largest: where it meets the training mode, both are seen.
    REESTIMATED: {"marker": "D", "markersize": 8, "linestyle": (0, (3, 2)), "hollow": True},
}
"""How each mode is drawn; training and validation items differ in colour."""


@dataclass(frozen=True)
class _Series:
    """A curve or the points of the checks, and how they are drawn."""

    label: str
    x: Array
    y: Array
    colour: str
    style: dict[str, Any]

    @property
    def end(self) -> float:
        """The last finite value; nan if there is none."""
        finite = self.y[np.isfinite(self.y)]
        return float(finite[-1]) if finite.size else float("nan")

    @property
    def named(self) -> str:
        """Label and last finite value; of a curve also that it went on to NaN or infinity."""
        broke = "marker" not in self.style and not np.isfinite(self.y[-1:]).all()
        return f"{self.label}  {grouped_number(self.end)}{', then not finite' if broke else ''}"


def plot_validation(
    check: ValidationCheck,
    history: TrainingHistory | None = None,
    baseline: float = float("nan"),
    name: str = "validation",
) -> Markup:
    """Loss, ``val_loss`` and the checked errors over the epochs, each named at its right end.

    The y axis is logarithmic unless a loss is negative. Vertical lines mark the epochs whose
    weights were kept and after which the training was stopped.

    Args:
        check: errors on validation and training items in both modes.
        history: the curves of the training, if they were recorded.
        baseline: error of the best prediction that ignores the input; nan if unknown.
        name: prefix of ids.
    """
    series = [*_curves(history), *_checked(check)]
    marks = epoch_marks(check.callbacks)[:MAX_MARKS]
    values = np.concatenate([*(one.y for one in series), [baseline]])
    if not np.isfinite(values[:-1]).any():
        return svg.note("No finite loss was recorded.")
    logarithmic = not (values[np.isfinite(values)] < 0).any()
    with svg.drawing():
        figure = svg.figure(4.2 + 0.17 * len(marks))
        axes = figure.subplots()
        _scale_y(axes, values, logarithmic)
        _scale_x(axes, [*(one.x for one in series), np.array([epoch for epoch, _ in marks])])
        for one in series:
            _draw(axes, one, logarithmic)
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
        picture = svg.inline(
            figure, name, "Loss and val_loss, with the errors of both modes",
            _described(series, baseline, marks),
        )  # fmt: skip
    return picture + (undrawn(values) if logarithmic else Markup(""))


def _curves(history: TrainingHistory | None) -> Iterator[_Series]:
    """``loss`` and ``val_loss`` as the training recorded them."""
    for metric, colour in (("loss", svg.TRAINING), ("val_loss", svg.INFERENCE)):
        if history is not None and metric in history.names:
            y = np.atleast_2d(history.values)[history.names.index(metric)]
            yield _Series(metric, *_paired(history.epochs, y), colour, {"linewidth": 1.8})


def _checked(check: ValidationCheck) -> Iterator[_Series]:
    """What was measured at each check, on validation items and on training items."""
    for items, colour, inference, training, reestimated in (
        ("validation", svg.INFERENCE, check.inference, check.training, check.reestimated),
        ("training items", svg.TRAINING, check.train_inference, check.train_training,
         check.train_reestimated),
    ):  # fmt: skip
        same = np.array_equal(np.ravel(inference), np.ravel(training), equal_nan=True)
        modes = (
            {BOTH_MODES: inference}
            if same
            else {INFERENCE_MODE: inference, TRAINING_MODE: training}
        )
        for mode, values in {**modes, REESTIMATED: reestimated}.items():
            x, y = _paired(check.checked, values)
            if not np.isnan(y).all():
                yield _Series(f"{items}, {mode}", x, y, colour, STYLES[mode])


def _paired(x: Array, y: Array) -> tuple[Array, Array]:
    """Both as flat arrays of floats, of the same length."""
    flat_x, flat_y = np.ravel(x).astype(float), np.ravel(y).astype(float)
    length = min(len(flat_x), len(flat_y))
    return flat_x[:length], flat_y[:length]


def _scale_y(axes: Axes, values: Array, logarithmic: bool) -> None:
    finite = _clipped(values[np.isfinite(values)])
    if logarithmic:
        log_y(axes, *limits(finite, least=0.3))
        return
    low, high = float(finite.min()), float(finite.max())
    margin = 0.06 * (high - low) or 0.5 * max(1.0, abs(high))
    axes.set_ylim(low - margin, high + margin)


def _clipped(values: Array) -> Array:
    """``values`` between ``SMALLEST`` and ``LARGEST``; 0 stays 0."""
    sized: Array = np.sign(values) * np.clip(np.abs(values), SMALLEST, LARGEST)
    return sized


def _scale_x(axes: Axes, epochs: Sequence[Array]) -> None:
    """From the first epoch to the last, with a margin in which the outer marks are whole."""
    every = np.concatenate(epochs)
    every = every[np.isfinite(every)]
    low, high = (float(every.min()), float(every.max())) if every.size else (1.0, 1.0)
    margin = 0.02 * (high - low) or 0.5
    axes.set_xlim(low - margin, high + margin)
    if high > low:
        axes.locator_params(axis="x", integer=True)
    else:
        axes.set_xticks([low])


def _draw(axes: Axes, series: _Series, logarithmic: bool) -> None:
    drawable = np.isfinite(series.y) & ((series.y > 0) if logarithmic else True)
    x, y = series.x, np.where(drawable, _clipped(series.y), np.nan)
    if "marker" in series.style:
        axes.plot(x, y, linewidth=0.8, color=series.colour, linestyle=series.style["linestyle"])
        axes.plot(x, y, linestyle="", zorder=3, **_marker(series))
        return
    x, y = thinned(x, y)
    mark = "." if len(y) <= MARKED else ""
    axes.plot(x, y, color=series.colour, marker=mark, markeredgewidth=0, **series.style)


def _marker(series: _Series) -> dict[str, Any]:
    """The mark of a check, in the picture and beside its name."""
    hollow = series.style.get("hollow", False)
    return {
        "marker": series.style["marker"], "markersize": series.style["markersize"],
        "markerfacecolor": "none" if hollow else series.colour, "markeredgecolor": series.colour,
        "markeredgewidth": 1.4 if hollow else 0, "clip_on": False,
    }  # fmt: skip


def thinned(x: Array, y: Array, most: int = MAX_POINTS) -> tuple[Array, Array]:
    """At most about ``most`` points of a curve: of each stretch its lowest and its highest.

    A spike of a single epoch and both ends stay; what is not finite counts only in a stretch that
    has nothing else.
    """
    if len(y) <= most:
        return x, y
    kept = {0, len(y) - 1}
    for stretch in np.array_split(np.arange(len(y)), most // 2):
        finite = stretch[np.isfinite(y[stretch])]
        if finite.size:
            kept |= {int(finite[np.argmin(y[finite])]), int(finite[np.argmax(y[finite])])}
        else:
            kept.add(int(stretch[0]))
    order = sorted(kept)
    return x[order], y[order]


def _name_ends(axes: Axes, series: Sequence[_Series], baseline: float) -> None:
    """Name everything at the right edge, with its mark and last value, from the top down."""
    ends: list[tuple[float, str, str, _Series | None]]
    ends = [(one.end, one.named, one.colour, one) for one in series if np.isfinite(one.end)]
    if np.isfinite(baseline):
        ends.append((baseline, f"{BEST}  {grouped_number(baseline)}", svg.MUTED, None))
    to_axes = axes.transData + axes.transAxes.inverted()
    heights = [float(to_axes.transform((0.0, _within(axes, value)))[1]) for value, *_ in ends]
    placed = spread(heights, 0.066, 0, 1)
    for (_, text, colour, one), height in zip(ends, placed, strict=True):
        key: dict[str, Any] = {"color": colour, "linewidth": 1.8, "clip_on": False}
        x = [1.012, 1.032]
        if one is None:
            key |= {"linewidth": 0.9, "linestyle": (0, (2, 1))}
        elif "marker" in one.style:
            x, key = [1.022], {"linestyle": "", **_marker(one)}
        axes.plot(x, [height] * len(x), transform=axes.transAxes, **key)
        axes.text(
            1.042, height, text, transform=axes.transAxes, color=colour, va="center", ha="left",
            fontsize=8,
        )  # fmt: skip


def _within(axes: Axes, value: float) -> float:
    """The value moved into the axis: a log axis has no place for 0."""
    low, high = axes.get_ylim()
    return float(min(max(value, low), high))


def epoch_marks(callbacks: Sequence[ActedCallback]) -> list[tuple[int, str]]:
    """Epoch and label of what callbacks did: those that did the same at one epoch share a label."""
    gathered: dict[tuple[int, str], list[str]] = {}
    for callback in callbacks:
        for epoch, action in ((callback.kept, KEPT), (callback.stopped, STOPPED)):
            if epoch is not None:
                gathered.setdefault((epoch, action), []).append(callback.kind)
    marks = []
    for (epoch, action), kinds in sorted(gathered.items()):
        by = shorten_middle(first_names(list(dict.fromkeys(kinds)), 2), 40)
        what = f"epoch {epoch:,} kept" if action == KEPT else f"stopped after epoch {epoch:,}"
        marks.append((epoch, f"{what} by {by}"))
    return marks


def _draw_marks(axes: Axes, marks: Sequence[tuple[int, str]]) -> None:
    """A vertical line for each, which ends beside its label above the axes.

    Labels of the left half are at the right of their line, those of the right half at its left.
    The outermost line of each half is the longest, because no line may cross a label.
    """
    middle = sum(axes.get_xlim()) / 2
    left = [mark for mark in marks if mark[0] <= middle]
    right = [mark for mark in marks if mark[0] > middle]
    for row, (epoch, label) in enumerate([*right, *reversed(left)]):
        aside: tuple[int, str] = (-4, "right") if row < len(right) else (4, "left")
        line: dict[str, Any] = {"color": svg.INK, "linewidth": 0.9, "linestyle": (0, (2, 2))}
        place: dict[str, Any] = {
            "xycoords": axes.get_xaxis_transform(), "textcoords": "offset points",
            "annotation_clip": False,
        }  # fmt: skip
        axes.axvline(epoch, **line)
        axes.annotate(
            "", (epoch, 1), (0, 13 + 12 * row), **place,
            arrowprops={"arrowstyle": "-", "shrinkA": 0, "shrinkB": 0, **line},
        )  # fmt: skip
        axes.annotate(
            label, (epoch, 1), (aside[0], 4 + 12 * row), **place, color=svg.INK, fontsize=8,
            va="bottom", ha=aside[1],
        )  # fmt: skip


def _described(series: Sequence[_Series], baseline: float, marks: Sequence[tuple[int, str]]) -> str:
    """The numbers at the right edge and the vertical lines, as text."""
    parts = [one.named.replace("  ", " ") for one in series if np.isfinite(one.end)]
    if np.isfinite(baseline):
        parts.append(f"{BEST} {grouped_number(baseline)}")
    ends = f"At the end: {'; '.join(parts)}."
    return " ".join([ends, *(f"{label[0].upper()}{label[1:]}." for _, label in marks)])
