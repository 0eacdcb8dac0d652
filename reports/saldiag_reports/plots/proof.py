"""Experiments: the score over the steps, as the model is and with one thing changed."""

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

FLOOR = -0.2
"""Lowest score that is drawn: what is worse is as bad as ignoring the input."""

MAX_PROVEN = 3
MAX_OTHERS = 3
"""Lines that the legend names one by one."""

PROVEN: tuple[tuple[str, Any], ...] = (
    (svg.TRAINING, "-"),
    (svg.INFERENCE, (0, (6, 2))),
    (svg.GOOD, (0, (3, 1.5))),
)
OTHERS: tuple[Any, ...] = ((0, (1, 1)), (0, (4, 2)), (0, (7, 2, 1, 2)))
"""Colours and dashes: a line is told by its dash as well, on paper and without colours."""

EARLY: dict[Stopped, tuple[str, str]] = {
    "memorised": ("o", "ended: memorised"),
    "nothing moves": ("s", "ended: nothing moves"),
    "non-finite": ("X", "ended: not finite"),
    "budget": (">", "cut short by the budget"),
}
"""Marks at the end of a training that ended before its last step."""


@dataclass(frozen=True)
class _Line:
    """An arm, and how it is drawn."""

    arm: Arm
    label: str
    colour: str
    dash: Any = "-"
    width: float = 0.9

    @property
    def style(self) -> dict[str, Any]:
        return {"color": self.colour, "linestyle": self.dash, "linewidth": self.width}


def plot_experiments(
    found: Experiments, hypotheses: Sequence[Hypothesis] = (), name: str = "experiments"
) -> Markup:
    """Every training's score over its steps; what restores learning stands out.

    Args:
        found: the trainings.
        hypotheses: what was made of them, the most telling first.
        name: prefix of ids.
    """
    lines = list(_lines(found, hypotheses))
    if not lines:
        return svg.note("Nothing was trained.")
    with svg.drawing():
        figure = svg.figure(4.1)
        axes = figure.subplots()
        last = _last_step(found)
        _frame(axes, last, lowest=min(_scores(lines), default=0.0))
        for line in lines:
            _draw(axes, line, last)
        figure.legend(
            handles=_keys(lines, last), loc="outside upper left", ncols=2, labelcolor=svg.MUTED,
            handlelength=3,
        )  # fmt: skip
        described = _described(lines)
        return svg.inline(figure, name, "Score of every training", described) + _left_out(lines)


def _lines(found: Experiments, hypotheses: Sequence[Hypothesis]) -> Iterator[_Line]:
    """What changed nothing below, the control above it, what restores learning on top."""
    arms = {arm.name: arm for arm in found.arms if arm.curves}
    ranked = [h for h in hypotheses if h.name in arms]
    proven = [h for h in ranked if h.outcome == "confirmed"][:MAX_PROVEN]
    # Named are those that differ most: the others lie on the control.
    others = sorted((h for h in ranked if h not in proven), key=lambda h: -abs(_known(h.effect)))
    named = others[:MAX_OTHERS]
    for arm in arms.values():
        if arm.name not in {h.name for h in (*proven, *named)}:
            yield _Line(arm, "", svg.BATCH)
    for h, dash in reversed(list(zip(named, OTHERS, strict=False))):
        yield _Line(arms[h.name], _label(h), svg.NONE, dash, 1.2)
    if found.controls and found.controls[-1].curves:
        yield _Line(found.controls[-1], "the model as it is", svg.INK, (0, (2, 1)), 1.4)
    for h, (colour, dash) in reversed(list(zip(proven, PROVEN, strict=False))):
        yield _Line(arms[h.name], _label(h), colour, dash, 2.0)


def _known(value: float) -> float:
    return value if math.isfinite(value) else 0.0


def _label(h: Hypothesis) -> str:
    return f"{h.outcome}: {shorten_middle(hypothesis_text.what(h), 54)}"


def _last_step(found: Experiments) -> int:
    """Where the longest arm ends: the control may have been trained for longer."""
    arms = [arm for arm in found.arms if arm.curves] or found.controls[-1:]
    return max(1, *(curve.steps[-1] for arm in arms for curve in arm.curves))


def _scores(lines: Iterable[_Line]) -> list[float]:
    every = (value for line in lines for curve in line.arm.curves for value in curve.score)
    return [value for value in every if math.isfinite(value)]


def _frame(axes: Axes, last: int, lowest: float) -> None:
    axes.set_xlim(0, last)
    axes.set_ylim(FLOOR if lowest < -0.02 else -0.03, 1.03)
    axes.locator_params(axis="x", integer=True)
    axes.set_xlabel("step")
    axes.set_title("R² in training mode", loc="left", color=svg.MUTED)
    for value, text in ((0.0, "ignores the input"), (RESTORED, "learns from here on")):
        axes.axhline(value, color=svg.MUTED, linewidth=0.9, linestyle=(0, (4, 3)))
        axes.text(
            1.01, value, text, transform=axes.get_yaxis_transform(), color=svg.MUTED, va="center",
            fontsize=8,
        )  # fmt: skip


def _draw(axes: Axes, line: _Line, last: int) -> None:
    """All seeds, the mark of an early end at each, and the score in inference mode if it counts."""
    for curve in line.arm.curves:
        y = [max(v, FLOOR) if math.isfinite(v) else math.nan for v in curve.score]
        sns.lineplot(
            x=curve.steps, y=y, ax=axes, errorbar=None, estimator=None, legend=False, **line.style
        )
        if curve.stopped in EARLY and curve.steps[-1] <= last:
            axes.plot([curve.steps[-1]], [_end(y)], EARLY[curve.stopped][0], **_mark(line.colour))
        if _inference(line.arm) and math.isfinite(curve.inference_score):
            height = max(curve.inference_score, FLOOR)
            axes.plot([curve.steps[-1]], [height], "D", **_mark(line.colour, hollow=True))
    axes.set_ylabel("")


def _end(y: Sequence[float]) -> float:
    """Where the curve ends as far as it is finite."""
    return next((value for value in reversed(y) if not math.isnan(value)), 0.0)


def _inference(arm: Arm) -> bool:
    return arm.mode == "inference"


def _mark(colour: str, hollow: bool = False) -> dict[str, Any]:
    face = svg.PAPER if hollow else colour
    edge = colour if hollow else svg.PAPER
    return {
        "markersize": 7, "markerfacecolor": face, "markeredgecolor": edge, "clip_on": False,
        "zorder": 5,
    }  # fmt: skip


def _keys(lines: Sequence[_Line], last: int) -> list[Artist]:
    """The lines from the top down, then the marks that occur."""
    named = [Line2D([], [], label=line.label, **line.style) for line in lines if line.label][::-1]
    rest = sum(not line.label for line in lines)
    if rest:
        named.append(Line2D([], [], label=f"{rest:,} more", color=svg.BATCH, linewidth=0.9))
    drawn = [curve for line in lines for curve in line.arm.curves if curve.steps[-1] <= last]
    ends = [EARLY[kind] for kind in EARLY if any(curve.stopped == kind for curve in drawn)]
    if any(_inference(line.arm) for line in lines):
        ends.append(("D", "in inference mode"))
    marks = [
        Line2D([], [], linestyle="", marker=mark, label=text, **_mark(svg.MUTED, mark == "D"))
        for mark, text in ends
    ]
    return [*named, *marks]


def _described(lines: Sequence[_Line]) -> str:
    told = [f"{line.label} ends at {_mean(line.arm.curves)}" for line in reversed(lines)
            if line.label]  # fmt: skip
    return f"Mean R² at the end: {'; '.join(told)}." if told else "R² of every training."


def _mean(curves: Sequence[Curve]) -> str:
    ends = [curve.score[-1] for curve in curves]
    return grouped_number(sum(ends) / len(ends), 2)


def _left_out(lines: Sequence[_Line]) -> Markup:
    """Say how many points are not where their number is."""
    every = [value for line in lines for curve in line.arm.curves for value in curve.score]
    low = sum(value < FLOOR for value in every)
    lost = sum(not math.isfinite(value) for value in every)
    told = [f"{grouped_count(low, 'value')} below {FLOOR} drawn there"] if low else []
    told += [f"{grouped_count(lost, 'value')} not finite left out"] if lost else []
    return svg.note(f"{'; '.join(told)}.") if told else Markup("")
