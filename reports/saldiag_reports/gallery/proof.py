"""The sample with experiments, one of which restores learning."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from saldiag.core.findings.hypothesis import CHANGES_NOTHING, Hypothesis
from saldiag.core.measurement import Arm, Curve, Experiments

CHECKED_STEPS = (0, 2, 7, 14, 21, 28, 35, 42, 49, 56, 60)
SUSPICION = "too much <b>data</b> \x1b[31m& so on"
HOSTILE = "encoder/<i>block & 1</i>\u202e"
STUCK_SCORE, STUCK_ERROR = -3.37, 0.7713
"""Score and error of a model that predicts 1 everywhere."""

WORSE = "it makes a difference, and does not restore learning"
NOT_TRIED = "the budget ended before it was tried"
NO_DROPOUT = "the model has neither dropout nor weight decay"


def sample_experiments() -> Experiments:
    """Curves of three seeds per change, as the model with softmax would have them."""
    return Experiments(
        controls=(
            Arm(
                "control",
                "unchanged model",
                planned_steps=60,
                curves=_curves_of_seeds(_stuck_curve),
            ),
        ),
        arms=tuple(_sample_arm(hypothesis) for hypothesis in HYPOTHESES),
        items=8,
        budget_seconds=120.0,
        ended="budget",
        suspicions={SUSPICION: ("tenth-of-data",)},
    )


SUSPECTING_RULES = ("SD101", "SD401")
"""Rules whose findings suggest a hypothesis, the root cause first."""


def _sample_arm(h: Hypothesis) -> Arm:
    draw = _CURVES.get(h.name)
    ranks = [SUSPECTING_RULES.index(code) for code in h.suspected_by if code in SUSPECTING_RULES]
    return Arm(
        h.name,
        h.hypothesis,
        h.intervention,
        h.layers,
        h.answers,
        h.suspected_by,
        h.parts,
        planned_steps=60 if draw else 0,
        reason=h.reason if h.outcome == "not applicable" else None,
        curves=_curves_of_seeds(draw) if draw else (),
        place=min(ranks, default=None),
    )


def _curves_of_seeds(draw: Callable[[int], Curve]) -> tuple[Curve, ...]:
    return tuple(draw(seed) for seed in range(3))


def _stuck_curve(seed: int) -> Curve:
    """Without a gradient nothing changes, and the training ends after two steps."""
    steps = CHECKED_STEPS[:2]
    missed = tuple(1 - STUCK_SCORE + 0.4 * math.sin(item) for item in range(8))
    return Curve(seed, steps, (STUCK_SCORE,) * 2, (STUCK_ERROR,) * 2, missed, "nothing moves")


def _learning_curve(seed: int) -> Curve:
    steps = CHECKED_STEPS[: 8 - seed % 2]
    gone = [math.exp(-step / (9.0 + seed)) for step in steps]
    score = tuple(1 - 0.02 - 1.9 * part for part in gone)
    missed = tuple((1 - score[-1]) * (1 + 0.2 * math.sin(item)) for item in range(8))
    return Curve(
        seed, steps, score, tuple(0.014 + 0.5 * part for part in gone), missed, "memorised"
    )


def _partial_curve(seed: int) -> Curve:
    """The model learns a little, but not enough."""
    score = tuple(0.22 * (1 - math.exp(-step / 20.0)) - 0.01 * seed for step in CHECKED_STEPS)
    missed = tuple((1 - score[-1]) * (1 + 0.1 * math.sin(item)) for item in range(8))
    error = tuple(0.42 - 0.1 * value for value in score)
    return Curve(seed, CHECKED_STEPS, score, error, missed, "steps")


_CURVES: dict[str, Callable[[int], Curve]] = {
    "fitting-output": _learning_curve,
    "fitting-loss": _partial_curve,
    "unfreeze-all": _stuck_curve,
    "higher-rate": _stuck_curve,
    "unfreeze-all + higher-rate": _stuck_curve,
    "tenth-of-data": _stuck_curve,
    "scaled-loss": _stuck_curve,
}


def _unchanged_hypothesis(
    name: str,
    hypothesis: str,
    intervention: str,
    by: Sequence[str] = (),
    parts: Sequence[str] = (),
    layers: Sequence[str] = (),
    answers: Sequence[str] = (),
) -> Hypothesis:
    """A hypothesis whose change has no effect."""
    return Hypothesis(
        name,
        hypothesis,
        intervention,
        "refuted" if by else "no difference",
        CHANGES_NOTHING,
        tuple(layers),
        tuple(answers),
        tuple(by),
        tuple(parts),
        seeds=3,
        steps=2,
        score=(STUCK_SCORE, STUCK_SCORE),
        error=(STUCK_ERROR, STUCK_ERROR),
        effect=0.0,
        interval=(0.0, 0.0),
    )


FROZEN = "weights that must be trained are frozen"
SLOW = "the learning rate is too low"
HYPOTHESES: tuple[Hypothesis, ...] = (
    Hypothesis(
        "fitting-output",
        "the output's activation does not fit the targets",
        "replacing softmax by sigmoid on Convf2 and softmax_output",
        "confirmed",
        "learning is restored in 3 of 3 seeds",
        ("softmax_output", "Convf2"),
        ("SD101", "SD102"),
        ("SD101",),
        seeds=3,
        restored=3,
        steps=42,
        score=(STUCK_SCORE, 0.941),
        error=(STUCK_ERROR, 0.0243),
        effect=0.941,
        interval=(0.923, 0.961),
    ),
    Hypothesis(
        "best-rate",
        "the learning rate is wrong by orders of magnitude",
        "",
        "undecided",
        NOT_TRIED,
        answers=("SD701", "SD702"),
    ),
    _unchanged_hypothesis(
        "unfreeze-all",
        FROZEN,
        f"unfreezing {HOSTILE}",
        ("SD401",),
        layers=(HOSTILE,),
        answers=("SD401",),
    ),
    _unchanged_hypothesis(
        "unfreeze-all + higher-rate",
        f"{FROZEN} and {SLOW}",
        f"unfreezing {HOSTILE}; learning rate 0.001 → 0.01",
        ("SD401",),
        ("unfreeze-all", "higher-rate"),
        (HOSTILE,),
        ("SD401", "SD702"),
    ),
    _unchanged_hypothesis(
        "tenth-of-data",
        "there is too much data for the training time",
        "a tenth of the data",
        (SUSPICION,),
    ),
    Hypothesis(
        "fitting-loss",
        "the loss does not fit the targets",
        "replacing mae by binary cross-entropy",
        "refuted",
        WORSE,
        answers=("SD107",),
        seeds=3,
        steps=60,
        score=(STUCK_SCORE, 0.199),
        error=(STUCK_ERROR, 0.4),
        effect=0.199,
        interval=(0.164, 0.223),
    ),
    _unchanged_hypothesis("higher-rate", SLOW, "learning rate 0.001 → 0.01", answers=("SD702",)),
    _unchanged_hypothesis(
        "scaled-loss", "gradients are too small for the optimizer", "scaling the loss by 1,000"
    ),
    Hypothesis(
        "no-regularisation",
        "dropout or weight decay prevents memorising",
        "",
        "not applicable",
        NO_DROPOUT,
    ),
)
"""The outcomes that the rules derive from the curves, the most informative first."""
