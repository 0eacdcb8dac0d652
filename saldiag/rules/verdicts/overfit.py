"""The verdict of the overfit test, and when the test may stop. Pure functions of its history."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from saldiag.core.findings.diagnosis import Verdict
from saldiag.core.measurement import OverfitHistory
from saldiag.rules.shared.trend_statistics import falling_probability, means_over
from saldiag.rules.shared.wording import number

LIMITS: dict[str, float] = {
    "learnt": 0.1,
    "stuck": 0.9,
    "fall": 0.01,
    "significance": 0.05,
    "min_steps": 30,
    "min_passes": 16,
    "warm_up": 1.5,
}
"""What the verdict rests on.

``learnt`` and ``stuck``: training-mode error as a share of the best input-independent prediction's,
below which the samples are memorised, and above which nothing but their mean can have been learnt
(the check against an input-independent baseline is Karpathy's, A Recipe for Training Neural
Networks, 2019). ``fall``: share of that baseline by which the error must fall in the second half of
the test to count as falling; ``significance``: level of the Mann-Kendall test (Mann 1945; Kendall
1975) of a falling loss over the same half. ``min_steps`` and ``min_passes``: steps, and passes over
the memorised samples, before a model may be called unable: a falling loss must have had its chance
to show (Mann-Kendall needs eight values in that half). ``warm_up``: growth of the learning rate
over that half from which on it has not come to its own yet (Goyal et al., Accurate, Large Minibatch
SGD, 2017, section 2.2: a linear warm-up, which doubles).
"""


def verdict_of(
    history: OverfitHistory | None, limits: Mapping[str, float] = LIMITS
) -> tuple[Verdict, str]:
    """The verdict and its reason in one sentence.

    *Learns* is judged by the lowest training-mode error: a model that has once memorised the
    samples can. *Does not learn* needs proof (no gradient, non-finite numbers, or a full test in
    which the predictions stayed no better than the best fixed one and stopped getting better);
    whatever is left is *inconclusive*.
    """
    if history is None:
        return "not_tested", "the overfit test was not run"
    if _blew_up(history):
        return "does_not_learn", f"loss or predictions turned non-finite after {_steps(history)}"
    if _memorised(history, lowest_error(history), limits):
        return "learns", _compared(history, "falls to")
    if history.no_gradient:
        return _without_gradient(history)
    doubt = _doubt(history, limits)
    if doubt:
        return "inconclusive", doubt
    return "does_not_learn", f"{_compared(history, 'stays at')} and does not fall any more"


def learns_slowly(history: OverfitHistory, limits: Mapping[str, float] = LIMITS) -> bool:
    """Whether the test ran to its end, proves nothing, and the error still falls."""
    open_end = history.stopped in {"budget", "steps"} and history.baseline_independent > 0
    if not open_end or verdict_of(history, limits)[0] != "inconclusive":
        return False
    return still_falls(history, limits)


def should_stop(history: OverfitHistory, limits: Mapping[str, float] = LIMITS) -> bool:
    """Whether the verdict is clear while the test still runs.

    Only three things are: the samples are memorised, no variable gets a gradient, or numbers are
    no longer finite. A loss that stands still may yet fall.
    """
    if history.no_gradient or _blew_up(history):
        return True
    return bool(len(history.checked)) and _memorised(
        history, float(history.training_error[-1]), limits
    )


def _blew_up(history: OverfitHistory) -> bool:
    errors = history.training_error
    return history.stopped == "non-finite" or bool(len(errors) and not math.isfinite(errors[-1]))


def _without_gradient(history: OverfitHistory) -> tuple[Verdict, str]:
    """A loss that is 0 from the start, as a hinge can be, has no gradient and needs none."""
    if len(history.training_error) and float(history.training_error[0]) == 0.0:
        return "inconclusive", "the loss is 0 before any step: these samples ask for no change"
    return "does_not_learn", "nothing trainable gets a gradient"


def lowest_error(history: OverfitHistory) -> float:
    """The lowest training-mode error of the test; infinite where there is none."""
    finite = history.training_error[np.isfinite(history.training_error)]
    return float(finite.min()) if len(finite) else math.inf


def _memorised(history: OverfitHistory, error: float, limits: Mapping[str, float]) -> bool:
    # A share of a baseline at or below zero (a negated loss, a similarity) says nothing.
    return (
        history.baseline_independent > 0 and error < limits["learnt"] * history.baseline_independent
    )


def _steps(history: OverfitHistory) -> str:
    count = len(history.loss)
    return f"{count} step" if count == 1 else f"{count} steps"


def _compared(history: OverfitHistory, verb: str) -> str:
    return (
        f"training-mode error {verb} {number(lowest_error(history))} within {_steps(history)}; "
        f"the best prediction that ignores the input gets {number(history.baseline_independent)}"
    )


def _doubt(history: OverfitHistory, limits: Mapping[str, float]) -> str:
    """Why a test without success is no proof; empty where it is one."""
    passes = len(history.loss) // _period(history)
    if not history.baseline_independent > 0:
        return "no input-independent baseline above zero to compare the error with"
    if history.stopped not in ("budget", "steps"):
        return f"the test ended early ({history.stopped}) after {_steps(history)}"
    if len(history.loss) < limits["min_steps"] or passes < limits["min_passes"]:
        return (
            f"too few steps ({len(history.loss)}, {passes} passes; "
            f"needs {number(limits['min_steps'])} and {number(limits['min_passes'])})"
        )
    return _still_open(history, limits)


def _still_open(history: OverfitHistory, limits: Mapping[str, float]) -> str:
    """Why a test that ran to its end may yet have come to something; empty where not."""
    if history.rate_growth > limits["warm_up"]:
        return (
            f"the learning rate still rises after {_steps(history)}, {number(history.rate_growth)} "
            "times since half of them: its warm-up is longer than the test"
        )
    if lowest_error(history) < limits["stuck"] * history.baseline_independent:
        return f"{_compared(history, 'falls only to')}: it learns in part, or slowly"
    if still_falls(history, limits):
        return f"{_compared(history, 'has come to')} and still falls: give it more steps"
    return ""


def _period(history: OverfitHistory) -> int:
    return max(1, math.ceil(history.items / max(1, history.batch_size)))


def still_falls(history: OverfitHistory, limits: Mapping[str, float]) -> bool:
    """Whether the second half falls, for sure and by an amount that matters.

    The amount is taken from the errors, which are measured on all samples: a loss may fall while
    the predictions stand still (a penalty shrinks, or Keras takes the logits behind them).
    """
    tail = history.training_error[history.checked >= len(history.loss) // 2]
    if len(tail) < 2:
        tail = history.training_error
    if not _falls_by(tail, limits["fall"] * history.baseline_independent):
        return False
    losses = means_over(history.loss, _period(history))
    losses = losses[len(losses) // 2 :]
    chance = min(falling_probability(losses), falling_probability(tail))
    return chance < limits["significance"]


def _falls_by(errors: np.ndarray[tuple[int], np.dtype[np.float64]], amount: float) -> bool:
    return bool(len(errors)) and float(errors[0] - errors[1:].min(initial=errors[0])) >= amount
