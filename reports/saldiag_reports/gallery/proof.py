"""The sample with experiments: what restores learning, and what does not."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from saldiag.core.findings.hypothesis import CHANGES_NOTHING, Hypothesis
from saldiag.core.measurement import Arm, Curve, Experiments

LOOKS = (0, 2, 7, 14, 21, 28, 35, 42, 49, 56, 60)
SUSPICION = "too much <b>data</b> \x1b[31m& so on"
HOSTILE = "encoder/<i>block & 1</i>\u202e"
STUCK, ERROR = -3.37, 0.7713
"""Score and error of the prediction 1 everywhere."""

WORSE = "it makes a difference, and does not restore learning"
NOT_TRIED = "the budget ended before it was tried"
NO_DROPOUT = "there is neither dropout nor weight decay"


def experiments() -> Experiments:
    """Curves of three seeds each, as the case would give them."""
    return Experiments(
        controls=(
            Arm("control", "the model as it is", planned_steps=60, curves=_each(_stuck)),
        ),
        arms=tuple(_arm(hypothesis) for hypothesis in HYPOTHESES),
        items=8,
        budget_seconds=120.0,
        ended="budget",
        suspicions={SUSPICION: ("tenth-of-data",)},
    )  # fmt: skip


FOUND = ("SD101", "SD401")
"""The findings that name a hypothesis, the root cause first."""


def _arm(told: Hypothesis) -> Arm:
    draw = _CURVES.get(told.name)
    return Arm(
        told.name, told.hypothesis, told.intervention, told.layers, told.answers,
        told.suspected_by, told.parts,
        planned_steps=60 if draw else 0,
        reason=told.reason if told.outcome == "not applicable" else None,
        curves=_each(draw) if draw else (),
        place=min((FOUND.index(code) for code in told.suspected_by if code in FOUND), default=None),
    )  # fmt: skip


def _each(draw: Callable[[int], Curve]) -> tuple[Curve, ...]:
    return tuple(draw(seed) for seed in range(3))


def _stuck(seed: int) -> Curve:
    """No gradient: nothing moves, and the training ends after two steps."""
    steps = LOOKS[:2]
    missed = tuple(1 - STUCK + 0.4 * math.sin(item) for item in range(8))
    return Curve(seed, steps, (STUCK,) * 2, (ERROR,) * 2, missed, "nothing moves")


def _learns(seed: int) -> Curve:
    steps = LOOKS[: 8 - seed % 2]
    gone = [math.exp(-step / (9.0 + seed)) for step in steps]
    score = tuple(1 - 0.02 - 1.9 * part for part in gone)
    missed = tuple((1 - score[-1]) * (1 + 0.2 * math.sin(item)) for item in range(8))
    return Curve(
        seed, steps, score, tuple(0.014 + 0.5 * part for part in gone), missed, "memorised"
    )


def _partly(seed: int) -> Curve:
    """A little is learnt, far from enough."""
    score = tuple(0.22 * (1 - math.exp(-step / 20.0)) - 0.01 * seed for step in LOOKS)
    missed = tuple((1 - score[-1]) * (1 + 0.1 * math.sin(item)) for item in range(8))
    error = tuple(0.42 - 0.1 * value for value in score)
    return Curve(seed, LOOKS, score, error, missed, "steps")


_CURVES: dict[str, Callable[[int], Curve]] = {
    "fitting-output": _learns,
    "fitting-loss": _partly,
    "unfreeze-all": _stuck,
    "higher-rate": _stuck,
    "unfreeze-all + higher-rate": _stuck,
    "tenth-of-data": _stuck,
    "scaled-loss": _stuck,
}


def _same(
    name: str, hypothesis: str, intervention: str, by: Sequence[str] = (),
    parts: Sequence[str] = (), layers: Sequence[str] = (), answers: Sequence[str] = (),
) -> Hypothesis:  # fmt: skip
    """A hypothesis whose change made no difference."""
    return Hypothesis(
        name, hypothesis, intervention, "refuted" if by else "no difference", CHANGES_NOTHING,
        tuple(layers), tuple(answers), tuple(by), tuple(parts), seeds=3, steps=2,
        score=(STUCK, STUCK), error=(ERROR, ERROR), effect=0.0, interval=(0.0, 0.0),
    )  # fmt: skip


FROZEN = "what has to learn is frozen"
SLOW = "the learning rate is too low"
HYPOTHESES: tuple[Hypothesis, ...] = (
    Hypothesis(
        "fitting-output", "the output's activation does not fit the targets",
        "replacing softmax by sigmoid on Convf2 and softmax_output", "confirmed",
        "learning is restored in 3 of 3 seeds", ("softmax_output", "Convf2"),
        ("SD101", "SD102"), ("SD101",), seeds=3, restored=3, steps=42,
        score=(STUCK, 0.941), error=(ERROR, 0.0243), effect=0.941, interval=(0.923, 0.961),
    ),
    Hypothesis(
        "best-rate", "the learning rate is decades away from where this model learns", "",
        "undecided", NOT_TRIED, answers=("SD701", "SD702"),
    ),
    _same(
        "unfreeze-all", FROZEN, f"unfreezing {HOSTILE}", ("SD401",), layers=(HOSTILE,),
        answers=("SD401",),
    ),
    _same(
        "unfreeze-all + higher-rate", f"{FROZEN} and {SLOW}",
        f"unfreezing {HOSTILE}; learning rate 0.001 → 0.01", ("SD401",),
        ("unfreeze-all", "higher-rate"), (HOSTILE,), ("SD401", "SD702"),
    ),
    _same(
        "tenth-of-data", "there is too much data to learn from in the time", "a tenth of the data",
        (SUSPICION,),
    ),
    Hypothesis(
        "fitting-loss", "the loss does not fit the targets",
        "replacing mae by binary cross-entropy", "refuted", WORSE, answers=("SD107",),
        seeds=3, steps=60,
        score=(STUCK, 0.199), error=(ERROR, 0.4), effect=0.199, interval=(0.164, 0.223),
    ),
    _same("higher-rate", SLOW, "learning rate 0.001 → 0.01", answers=("SD702",)),
    _same("scaled-loss", "gradients are too small for the optimizer", "scaling the loss by 1,000"),
    Hypothesis(
        "no-regularisation", "dropout or weight decay keeps it from memorising", "",
        "not applicable", NO_DROPOUT,
    ),
)  # fmt: skip
"""What the judgement makes of the curves, the most telling first."""
