"""Schedules are plain functions from step to yes or no."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from saldiag.core.training.schedule import PRESETS, every, logarithmic, never


@given(st.integers(1, 50), st.integers(0, 10_000))
def test_every_says_yes_at_multiples(interval: int, step: int) -> None:
    assert every(interval)(step) == (step % interval == 0)


@given(st.integers(1, 20), st.integers(2, 4))
def test_logarithmic_says_yes_a_fixed_number_of_times_a_decade(per: int, decade: int) -> None:
    schedule = logarithmic(per)
    hits = sum(schedule(step) for step in range(10**decade, 10 ** (decade + 1)))
    assert abs(hits - min(per, 9 * 10**decade)) <= 1


def test_all_presets_measure_the_first_step_and_never_does_not() -> None:
    assert all(make()(0) for make in PRESETS.values())
    assert not any(never(step) for step in range(100))


@pytest.mark.parametrize("make", [every, logarithmic])
def test_senseless_intervals_are_refused(make: object) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        make(0)  # type: ignore[operator]
