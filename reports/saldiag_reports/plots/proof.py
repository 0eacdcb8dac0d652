"""Experiments: the score over the steps, of the unchanged model and of each change."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import seaborn as sns
from markupsafe import Markup
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from saldiag.core.findings.hypothesis import RESTORED, Hypothesis
from saldiag.core.measurement import Arm, Curve, Experiments
from saldiag.core.measurement.experiments import Stopped
from saldiag.core.wording import grouped_count, grouped_number, shorten_middle
from saldiag_reports.content import hypothesis_text
from saldiag_reports.plots import svg

MIN_DRAWN_SCORE = -0.2
"""Lowest score that is drawn; lower scores are drawn here."""

MAX_CONFIRMED = 3
MAX_OTHERS = 3
"""Confirmed changes, and other changes, that the legend names; the others are counted."""

CONFIRMED_STYLES: tuple[tuple[str, Any], ...] = (
    (svg.TRAINING, "-"),
    (svg.INFERENCE, (0, (6, 2))),
    (svg.GOOD, (0, (3, 1.5))),
)
OTHER_DASHES: tuple[Any, ...] = ((0, (1, 1)), (0, (4, 2)), (0, (7, 2, 1, 2)))
"""Colours and dashes; the dashes distinguish the lines without colours."""

END_MARKERS: dict[Stopped, tuple[str, str]] = {
    "memorised": ("o", "ended: memorised"),
    "nothing moves": ("s", "ended: no progress"),
    "non-finite": ("X", "ended: not finite"),
    "budget": (">", "ended: time limit"),
}
"""Marker and label of trainings that ended early, by reason."""


@dataclass(frozen=True)
class _Line:
    """An arm, and how it is drawn."""

    arm: Arm
    """The trainings with one change, or without any."""
    label: str
    """Text in the legend; empty for none."""
    colour: str
    """Colour of the lines and markers."""
    dash: Any = "-"
    """Line style, as matplotlib takes it."""
    width: float = 0.9
    """Line width in points."""

    @property
    def line_style(self) -> dict[str, Any]:
        """Keyword arguments for matplotlib."""
        return {"color": self.colour, "linestyle": self.dash, "linewidth": self.width}


def plot_experiments(
    experiments: Experiments, hypotheses: Sequence[Hypothesis] = (), name: str = "experiments"
) -> Markup:
    """The scores of all trainings; the changes that restore learning are emphasized.

    Args:
        experiments: the trainings.
        hypotheses: their outcomes, the most informative first.
        name: prefix of the ids in the SVG.
    """
    lines = list(_arm_lines(experiments, hypotheses))
    if not lines:
        return svg.note_line("No training was run.")
    with svg.drawing_style():
        figure = svg.new_figure(4.1)
        axes = figure.subplots()
        last = _last_step(experiments)
        _set_up_axes(axes, last, lowest=min(_finite_scores(lines), default=0.0))
        for line in lines:
            _draw_arm(axes, line, last)
        figure.legend(
            handles=_legend_entries(lines, last), loc="outside upper left", ncols=2,
            labelcolor=svg.MUTED, handlelength=3,
        )  # fmt: skip
        description = _picture_description(lines)
        picture = svg.inline_svg(figure, name, "Scores of all trainings", description)
    return picture + _left_out_note(lines)


def _arm_lines(experiments: Experiments, hypotheses: Sequence[Hypothesis]) -> Iterator[_Line]:
    """The lines from bottom to top: other changes, the control, confirmed changes."""
    arms = {arm.name: arm for arm in experiments.arms if arm.curves}
    ranked = [h for h in hypotheses if h.name in arms]
    confirmed = [h for h in ranked if h.outcome == "confirmed"][:MAX_CONFIRMED]
    # The legend names the largest effects; the other lines coincide with the control.
    others = sorted(
        (h for h in ranked if h not in confirmed), key=lambda h: -abs(_finite_or_zero(h.effect))
    )
    named = others[:MAX_OTHERS]
    for arm in arms.values():
        if arm.name not in {h.name for h in (*confirmed, *named)}:
            yield _Line(arm, "", svg.BATCH)
    for h, dash in reversed(list(zip(named, OTHER_DASHES, strict=False))):
        yield _Line(arms[h.name], _hypothesis_label(h), svg.NONE, dash, 1.2)
    if experiments.controls and experiments.controls[-1].curves:
        yield _Line(experiments.controls[-1], "unchanged model", svg.INK, (0, (2, 1)), 1.4)
    for h, (colour, dash) in reversed(list(zip(confirmed, CONFIRMED_STYLES, strict=False))):
        yield _Line(arms[h.name], _hypothesis_label(h), colour, dash, 2.0)


def _finite_or_zero(value: float) -> float:
    return value if math.isfinite(value) else 0.0


def _hypothesis_label(h: Hypothesis) -> str:
    return f"{h.outcome}: {shorten_middle(hypothesis_text.change_label(h), 54)}"


def _last_step(experiments: Experiments) -> int:
    """Last step of the longest arm; the control may have been trained for longer."""
    arms = [arm for arm in experiments.arms if arm.curves] or experiments.controls[-1:]
    return max(1, *(curve.steps[-1] for arm in arms for curve in arm.curves))


def _finite_scores(lines: Iterable[_Line]) -> list[float]:
    every = (value for line in lines for curve in line.arm.curves for value in curve.score)
    return [value for value in every if math.isfinite(value)]


def _set_up_axes(axes: Axes, last: int, lowest: float) -> None:
    axes.set_xlim(0, last)
    axes.set_ylim(MIN_DRAWN_SCORE if lowest < -0.02 else -0.03, 1.03)
    axes.locator_params(axis="x", integer=True)
    axes.set_xlabel("step")
    axes.set_title("R² in training mode", loc="left", color=svg.MUTED)
    for value, text in ((0.0, "ignores the input"), (RESTORED, "learns from here on")):
        axes.axhline(value, color=svg.MUTED, linewidth=0.9, linestyle=(0, (4, 3)))
        axes.text(
            1.01, value, text, transform=axes.get_yaxis_transform(), color=svg.MUTED, va="center",
            fontsize=8,
        )  # fmt: skip


def _draw_arm(axes: Axes, line: _Line, last: int) -> None:
    """Draw all seeds, markers of early ends, and the score in inference mode if it counts."""
    for curve in line.arm.curves:
        y = [max(v, MIN_DRAWN_SCORE) if math.isfinite(v) else math.nan for v in curve.score]
        sns.lineplot(
            x=curve.steps,
            y=y,
            ax=axes,
            errorbar=None,
            estimator=None,
            legend=False,
            **line.line_style,
        )
        if curve.stopped in END_MARKERS and curve.steps[-1] <= last:
            axes.plot(
                [curve.steps[-1]],
                [_last_finite(y)],
                END_MARKERS[curve.stopped][0],
                **_marker_style(line.colour),
            )
        if _in_inference_mode(line.arm) and math.isfinite(curve.inference_score):
            height = max(curve.inference_score, MIN_DRAWN_SCORE)
            axes.plot([curve.steps[-1]], [height], "D", **_marker_style(line.colour, hollow=True))
    axes.set_ylabel("")


def _last_finite(y: Sequence[float]) -> float:
    """The last finite value; 0 if there is none."""
    return next((value for value in reversed(y) if not math.isnan(value)), 0.0)


def _in_inference_mode(arm: Arm) -> bool:
    return arm.mode == "inference"


def _marker_style(colour: str, hollow: bool = False) -> dict[str, Any]:
    face = svg.PAPER if hollow else colour
    edge = colour if hollow else svg.PAPER
    return {
        "markersize": 7, "markerfacecolor": face, "markeredgecolor": edge, "clip_on": False,
        "zorder": 5,
    }  # fmt: skip


def _legend_entries(lines: Sequence[_Line], last: int) -> list[Artist]:
    """The lines from top to bottom, then the markers that occur."""
    named = [Line2D([], [], label=line.label, **line.line_style) for line in lines if line.label][
        ::-1
    ]
    rest = sum(not line.label for line in lines)
    if rest:
        named.append(Line2D([], [], label=f"{rest:,} more", color=svg.BATCH, linewidth=0.9))
    drawn = [curve for line in lines for curve in line.arm.curves if curve.steps[-1] <= last]
    ends = [
        END_MARKERS[kind] for kind in END_MARKERS if any(curve.stopped == kind for curve in drawn)
    ]
    if any(_in_inference_mode(line.arm) for line in lines):
        ends.append(("D", "in inference mode"))
    marks = [
        Line2D(
            [], [], linestyle="", marker=mark, label=text, **_marker_style(svg.MUTED, mark == "D")
        )
        for mark, text in ends
    ]
    return [*named, *marks]


def _picture_description(lines: Sequence[_Line]) -> str:
    parts = [
        f"{line.label} ends at {_mean_final_score(line.arm.curves)}"
        for line in reversed(lines)
        if line.label
    ]
    return f"Mean R² at the end: {'; '.join(parts)}." if parts else "R² of all trainings."


def _mean_final_score(curves: Sequence[Curve]) -> str:
    ends = [curve.score[-1] for curve in curves]
    return grouped_number(sum(ends) / len(ends), 2)


def _left_out_note(lines: Sequence[_Line]) -> Markup:
    """A note on values that are not drawn at their height; empty if there are none."""
    scores = [value for line in lines for curve in line.arm.curves for value in curve.score]
    low = sum(value < MIN_DRAWN_SCORE for value in scores)
    nonfinite = sum(not math.isfinite(value) for value in scores)
    notes = []
    if low:
        are = "is" if low == 1 else "are"
        notes.append(f"{grouped_count(low, 'value')} below {MIN_DRAWN_SCORE} {are} drawn there")
    if nonfinite:
        are = "is" if nonfinite == 1 else "are"
        notes.append(f"{grouped_count(nonfinite, 'value')} {are} not finite and not drawn")
    return svg.note_line(f"{'; '.join(notes)}.") if notes else Markup("")
