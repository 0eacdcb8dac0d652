"""The verdict of the overfit test, and when the test can stop. Pure functions of its history."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from saldiag.core.findings.diagnosis import Verdict
from saldiag.core.measurement import OverfitHistory
from saldiag.core.wording import counted, number
from saldiag.rules.shared.trend_statistics import falling_probability, means_over

LIMITS: dict[str, float] = {
    "learnt": 0.1,
    "stuck": 0.9,
    "fall": 0.01,
    "significance": 0.05,
    "min_steps": 30,
    "min_passes": 16,
    "warm_up": 1.5,
}
"""Thresholds of the verdict.

``learnt`` and ``stuck``: training-mode error, as a share of the baseline error (of the best
prediction that ignores the input), below which the samples are memorised and above which at most
their mean can have been learned (comparing with an input-independent baseline: Karpathy, A Recipe
for Training Neural Networks, 2019). ``fall``: share of the baseline error by which the error must
fall in the second half of the test to count as falling. ``significance``: level of the Mann-Kendall
test (Mann 1945; Kendall 1975) for a falling loss over the same half. ``min_steps`` and
``min_passes``: fewest steps, and passes over the memorised samples, before a model counts as
unable; with fewer, a falling loss would not show (Mann-Kendall needs eight values in that half).
``warm_up``: growth of the learning rate over that half, above which the rate is still warming up
(Goyal et al., Accurate, Large Minibatch SGD, 2017, section 2.2: a linear warm-up, which doubles).
"""


def verdict_of(
    history: OverfitHistory | None, limits: Mapping[str, float] = LIMITS
) -> tuple[Verdict, str]:
    """The verdict and its reason in one sentence.

    *Learns* is judged by the lowest training-mode error: a model that memorised the samples once is
    able to. *Does not learn* needs proof: no gradient, non-finite numbers, or a full test in which
    the predictions stayed no better than the best fixed one and stopped improving. Everything else
    is *inconclusive*.
    """
    if history is None:
        return "not_tested", "the overfit test was not run"
    if _became_non_finite(history):
        return (
            "does_not_learn",
            f"loss or predictions became non-finite after {_steps_taken(history)}",
        )
    if _is_memorised(history, lowest_error(history), limits):
        return "learns", _error_against_baseline(history, "falls to")
    if history.no_gradient:
        return _verdict_without_gradient(history)
    doubt = _why_inconclusive(history, limits)
    if doubt:
        return "inconclusive", doubt
    return "does_not_learn", _error_against_baseline(history, "falls no further than")


def learns_slowly(history: OverfitHistory, limits: Mapping[str, float] = LIMITS) -> bool:
    """Whether the test ran to its end, is inconclusive, and the error still falls."""
    open_end = history.stopped in {"budget", "steps"} and history.baseline_independent > 0
    if not open_end or verdict_of(history, limits)[0] != "inconclusive":
        return False
    return still_falls(history, limits)


def should_stop(history: OverfitHistory, limits: Mapping[str, float] = LIMITS) -> bool:
    """Whether the verdict is certain while the test still runs.

    It is if the samples are memorised, no variable gets a gradient, or numbers are no longer
    finite. A loss that is constant so far can still fall.
    """
    if history.no_gradient or _became_non_finite(history):
        return True
    return bool(len(history.checked)) and _is_memorised(
        history, float(history.training_error[-1]), limits
    )


def _became_non_finite(history: OverfitHistory) -> bool:
    errors = history.training_error
    return history.stopped == "non-finite" or bool(len(errors) and not math.isfinite(errors[-1]))


def _verdict_without_gradient(history: OverfitHistory) -> tuple[Verdict, str]:
    """The verdict; a loss that is 0 from the start, such as a hinge loss, needs no gradient."""
    if len(history.training_error) and float(history.training_error[0]) == 0.0:
        return (
            "inconclusive",
            "the loss is 0 before the first step: these samples require no change",
        )
    return "does_not_learn", "no trainable variable gets a gradient"


def lowest_error(history: OverfitHistory) -> float:
    """The lowest training-mode error of the test; infinite where there is none."""
    finite = history.training_error[np.isfinite(history.training_error)]
    return float(finite.min()) if len(finite) else math.inf


def _is_memorised(history: OverfitHistory, error: float, limits: Mapping[str, float]) -> bool:
    # A share of a baseline at or below zero (a negated loss, a similarity) has no meaning.
    return (
        history.baseline_independent > 0 and error < limits["learnt"] * history.baseline_independent
    )


def _steps_taken(history: OverfitHistory) -> str:
    return counted(len(history.loss), "step")


def _error_against_baseline(history: OverfitHistory, verb: str) -> str:
    return (
        f"training-mode error {verb} {number(lowest_error(history))} within "
        f"{_steps_taken(history)}; the best prediction that ignores the input gets "
        f"{number(history.baseline_independent)}"
    )


def _why_inconclusive(history: OverfitHistory, limits: Mapping[str, float]) -> str:
    """Why a test in which nothing was memorised is no proof; empty if it is one."""
    passes = len(history.loss) // _batches_per_pass(history)
    if not history.baseline_independent > 0:
        return "no baseline error above zero to compare the error with"
    if history.stopped not in ("budget", "steps"):
        return f"the test ended early ({history.stopped}) after {_steps_taken(history)}"
    if len(history.loss) < limits["min_steps"] or passes < limits["min_passes"]:
        return (
            f"too few steps: {len(history.loss)} (needs {number(limits['min_steps'])}), passes "
            f"over the samples: {passes} (needs {number(limits['min_passes'])})"
        )
    return _why_open_at_the_end(history, limits)


def _why_open_at_the_end(history: OverfitHistory, limits: Mapping[str, float]) -> str:
    """Why a test that ran to its end is no proof; empty if it is one."""
    if history.rate_growth > limits["warm_up"]:
        return (
            f"the learning rate still rises after {_steps_taken(history)}, by a factor of "
            f"{number(history.rate_growth)} in the second half: its warm-up is longer than the test"
        )
    if lowest_error(history) < limits["stuck"] * history.baseline_independent:
        return f"{_error_against_baseline(history, 'falls only to')}: it learns partly or slowly"
    if still_falls(history, limits):
        reached = _error_against_baseline(history, "still falls and has reached")
        return f"{reached}: train for more steps"
    return ""


def _batches_per_pass(history: OverfitHistory) -> int:
    return max(1, math.ceil(history.items / max(1, history.batch_size)))


def still_falls(history: OverfitHistory, limits: Mapping[str, float]) -> bool:
    """Whether the error falls in the second half, significantly and by a relevant amount.

    The amount is computed from the errors, which are measured on all samples: a loss can fall while
    the predictions stay constant (a shrinking penalty, or a loss that Keras computes from the
    logits).
    """
    tail = history.training_error[history.checked >= len(history.loss) // 2]
    if len(tail) < 2:
        tail = history.training_error
    if not _falls_by(tail, limits["fall"] * history.baseline_independent):
        return False
    losses = means_over(history.loss, _batches_per_pass(history))
    losses = losses[len(losses) // 2 :]
    chance = min(falling_probability(losses), falling_probability(tail))
    return chance < limits["significance"]


def _falls_by(errors: np.ndarray[tuple[int], np.dtype[np.float64]], amount: float) -> bool:
    return bool(len(errors)) and float(errors[0] - errors[1:].min(initial=errors[0])) >= amount
