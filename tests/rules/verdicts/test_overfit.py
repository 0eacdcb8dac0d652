"""The verdict: proof before blame, and nothing that a change of units could turn."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from saldiag.core.measurement import OverfitHistory
from saldiag.rules.verdicts.overfit import should_stop, verdict_of
from tests.support.measurements import overfit, stuck


def verdict(history: OverfitHistory | None) -> str:
    return verdict_of(history)[0]


def ran(curve: np.ndarray, **fields: object) -> OverfitHistory:
    return overfit(curve, **{"stopped": "steps", **fields})


STEPS = np.arange(401)
NOISE = np.random.default_rng(1).normal(size=401)


def test_no_test_no_verdict() -> None:
    assert verdict_of(None) == ("not_tested", "the overfit test was not run")


def test_a_memorised_set_is_learnt_and_the_reason_has_the_numbers() -> None:
    result, reason = verdict_of(overfit())
    assert result == "learns"
    assert "falls to 0.0137 within 60 steps" in reason
    assert "gets 0.25" in reason


@pytest.mark.parametrize(
    ("history", "expected"),
    [
        (stuck(), "does_not_learn"),
        (stuck(no_gradient=True, stopped="no gradient"), "does_not_learn"),
        (overfit([0.5], no_gradient=True, stopped="no gradient"), "does_not_learn"),
        (overfit([0.0], no_gradient=True, baseline_independent=float("nan")), "inconclusive"),
        (overfit([0.5, np.nan], stopped="non-finite"), "does_not_learn"),
        (stuck(stopped="interrupted"), "inconclusive"),
        (stuck(items=64), "inconclusive"),  # 60 steps of 8 are 7 passes over 64 samples
        (stuck(baseline_independent=float("nan")), "inconclusive"),
        (stuck(baseline_independent=0.0), "inconclusive"),
        (overfit(stopped="interrupted"), "learns"),
    ],
)
def test_the_plain_cases(history: OverfitHistory, expected: str) -> None:
    assert verdict(history) == expected


@pytest.mark.parametrize("steps", [0, 1, 5, 29])
def test_too_few_steps_prove_nothing(steps: int) -> None:
    flat = np.full(steps + 1, 0.5)
    assert verdict(ran(flat, stopped="budget")) == "inconclusive"


def test_a_slow_model_is_not_called_unable() -> None:
    """Falls by a tenth within 400 steps and is still above the baseline."""
    slow = 0.5 - 0.05 * STEPS / 400 + 0.005 * NOISE
    assert verdict(ran(slow)) == "inconclusive"
    assert "still falls" in verdict_of(ran(slow))[1]


def test_a_model_that_stays_at_the_mean_does_not_learn() -> None:
    mean = 0.25 + 0.4 * np.exp(-STEPS / 20) + 0.0005 * NOISE
    assert verdict(ran(mean)) == "does_not_learn"


def test_a_warm_up_longer_than_the_test_proves_nothing() -> None:
    stood = stuck(0.25, rate_growth=1.98)
    assert verdict(stood) == "inconclusive"
    assert "by a factor of 1.98 in the second half: its warm-up is longer" in verdict_of(stood)[1]
    assert verdict(stuck(0.25, rate_growth=1.0)) == "does_not_learn"
    assert verdict(stuck(0.25, rate_growth=1.98, no_gradient=True)) == "does_not_learn"


def test_a_loss_between_baseline_and_target_is_inconclusive() -> None:
    assert verdict(ran(np.where(STEPS < 100, 0.5, 0.12))) == "inconclusive"


def test_a_late_start_is_not_missed() -> None:
    late = np.where(STEPS < 350, 0.5, 0.5 - 0.004 * (STEPS - 350)) + 0.002 * NOISE
    assert verdict(ran(late)) == "inconclusive"


def test_a_falling_loss_with_unchanged_predictions_is_no_learning() -> None:
    """One-channel softmax under binary cross-entropy: the loss falls, every prediction is 1."""
    still = np.full(41, 8.07)
    history = ran(
        0.7 * np.exp(-STEPS / 50), checked=STEPS[::10], training_error=still,
        inference_error=still, baseline_independent=0.6,
    )  # fmt: skip
    assert verdict(history) == "does_not_learn"


def test_a_cycle_of_batches_is_neither_noise_nor_trend() -> None:
    """Four batches of very different difficulty, and a slow fall in all of them."""
    wave = np.tile([0.2, 0.6, 1.0, 1.4], 101)[:401]
    history = ran(wave + 0.5 - 0.2 * STEPS / 400, items=32, batch_size=8)
    errors = 1.2 - 0.2 * history.checked / 400
    history = replace(history, training_error=errors)
    assert verdict(history) == "inconclusive"


def test_learning_once_counts_although_it_jumps_back() -> None:
    curve = np.where((STEPS > 50) & (STEPS < 80), 0.01, 0.5)
    assert verdict(ran(curve)) == "learns"


def test_should_stop_only_where_the_verdict_is_clear() -> None:
    assert should_stop(overfit())
    assert not should_stop(stuck(stopped="steps"))
    assert should_stop(stuck(no_gradient=True))
    assert should_stop(overfit([0.5] * 10 + [np.nan], stopped="steps"))
    nothing_yet = overfit([0.5], checked=np.array([], int), training_error=np.array([]))
    assert not should_stop(nothing_yet)


curves = st.lists(st.floats(0.001, 10.0), min_size=1, max_size=120)
stops = st.sampled_from(["steps", "budget", "interrupted", "memorised"])


@given(curves, stops, st.floats(0.01, 5.0), st.integers(-20, 20))
def test_units_do_not_matter(
    curve: list[float], stopped: str, baseline: float, exponent: int
) -> None:
    """Powers of two, so that scaling rounds nothing."""
    scale = 2.0**exponent
    one = ran(np.array(curve), stopped=stopped, baseline_independent=baseline)
    other = ran(scale * np.array(curve), stopped=stopped, baseline_independent=scale * baseline)
    assert verdict(one) == verdict(other)
    assert should_stop(one) == should_stop(other)


@given(curves, stops)
def test_whoever_learnt_before_a_step_has_learnt_after_it(curve: list[float], stopped: str) -> None:
    shorter = ran(np.array(curve), stopped=stopped)
    longer = ran(np.array([*curve, 0.7]), stopped=stopped)
    if verdict(shorter) == "learns":
        assert verdict(longer) == "learns"


@given(curves)
def test_interrupted_blames_nobody(curve: list[float]) -> None:
    assert verdict(ran(np.array(curve), stopped="interrupted")) in ("learns", "inconclusive")


@given(st.integers(0, 10_000))
def test_noise_around_a_level_is_no_fall(seed: int) -> None:
    noise = np.random.default_rng(seed).normal(size=401)
    falling = 0.6 - 0.1 * STEPS / 400 + 0.003 * noise
    assert verdict(ran(falling)) == "inconclusive", "a model that falls is never called unable"
