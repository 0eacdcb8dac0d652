"""Trends and the graph: against scipy, and against what they are by definition."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import stats

from saldiag.core import wording
from saldiag.core.measurement import Source
from saldiag.rules.shared import trend_statistics
from saldiag.rules.shared.graph import Network
from tests.support.measurements import call, wiring

series = st.lists(st.integers(-1000, 1000), min_size=8, max_size=40).map(
    lambda values: np.array(values, dtype=np.float64)
)


@given(series)
def test_theil_sen_is_scipys(y: np.ndarray) -> None:
    x = np.arange(len(y), dtype=np.float64)
    assert trend_statistics.theil_sen(x, y) == pytest.approx(stats.theilslopes(y, x)[0])


def test_theil_sen_shrugs_off_an_outlier() -> None:
    y = 2.0 * np.arange(20)
    y[7] = 1e9
    assert trend_statistics.theil_sen(np.arange(20.0), y) == 2.0
    assert np.isnan(trend_statistics.theil_sen(np.array([1.0]), np.array([3.0])))


@given(series)
def test_tau_is_scipys_where_there_are_no_ties(y: np.ndarray) -> None:
    assume(len(set(y)) == len(y))
    expected = stats.kendalltau(np.arange(len(y)), y).statistic
    assert trend_statistics.kendall_tau(y) == pytest.approx(expected)


@given(series)
def test_mann_kendall_is_a_probability_and_depends_on_order_alone(y: np.ndarray) -> None:
    p = trend_statistics.falling_probability(y)
    assert 0 < p <= 1
    assert trend_statistics.falling_probability(3 * y + 7) == p
    if p < 0.5:
        assert trend_statistics.falling_probability(y[::-1]) == 1.0


def test_mann_kendall_against_the_exact_test() -> None:
    """The normal approximation errs on the careful side by a quarter at ten values."""
    y = np.array([5, 3, 4, 2, 6, 1, 0, -1, 2.5, -2])
    exact = stats.kendalltau(np.arange(10), y, alternative="less", method="exact").pvalue
    assert trend_statistics.falling_probability(y) == pytest.approx(exact, rel=0.25)
    assert trend_statistics.falling_probability(np.arange(20.0)[::-1]) < 1e-6
    assert trend_statistics.falling_probability(np.arange(7.0)[::-1]) == 1.0
    assert trend_statistics.falling_probability(np.ones(30)) == 1.0


def test_mann_kendall_by_hand() -> None:
    """Ten values with S = -25 of 45; then a tie of three, which takes 3 (3-1) (6+5) off."""
    y = np.array([9.0, 8, 7, 6, 5, 0, 1, 2, 3, 4])
    assert 45 * trend_statistics.kendall_tau(y) == pytest.approx(-25)
    assert trend_statistics.falling_probability(y) == pytest.approx(
        stats.norm.cdf(-24 / np.sqrt(125))
    )
    tied = np.array([9.0, 8, 7, 6, 6, 6, 3, 2, 1, 0])
    variance = (10 * 9 * 25 - 3 * 2 * 11) / 18
    assert trend_statistics.falling_probability(tied) == pytest.approx(
        stats.norm.cdf(-41 / np.sqrt(variance))
    )


def test_mann_kendall_keeps_its_level_on_noise() -> None:
    draws = np.random.default_rng(0).normal(size=(2000, 20))
    alarms = np.mean([trend_statistics.falling_probability(y) < 0.05 for y in draws])
    assert 0.03 < alarms < 0.06


def test_means_over_whole_periods() -> None:
    assert trend_statistics.means_over(np.array([1.0, 3.0, 2.0, 4.0, 9.0]), 2).tolist() == [
        2.0,
        3.0,
    ]
    assert trend_statistics.first_and_last_quarter(np.arange(8.0)) == (0.5, 6.5)
    assert trend_statistics.first_and_last_quarter(np.array([4.0])) == (4.0, 4.0)


def test_the_network_looks_through_shape_only_calls() -> None:
    network = Network(
        wiring(
            call("a", "Dense", "", activation="sigmoid"),
            call("flat", "Flatten", "a"),
            call("linear", "Activation", "flat", activation="linear"),
            call("b", "Activation", "linear", activation="softmax"),
            call("reshape", "Reshape", "b"),
        )
    )
    (head,) = network.heads()
    assert head.path == "b"
    before = network.before("b")
    assert before is not None
    assert before.path == "a"
    assert network.before("a") is None
    assert network.upstream(["linear"]) == {"a", "flat", "linear"}
    assert network.downstream(["linear"]) == {"linear", "b", "reshape"}


def test_a_loop_in_the_wiring_ends() -> None:
    network = Network(wiring(call("a", "Flatten", "b"), call("b", "Flatten", "a")))
    assert network.upstream(["a"]) == {"a", "b"}
    assert network.before("a") is None


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0.0, "0"), (1.0, "1"), (0.41234, "0.412"), (3.5e-17, "3.5e-17"), (float("nan"), "NaN"),
     (-float("inf"), "-inf"), (1234.0, "1234"), (-0.0, "0")],
)  # fmt: skip
def test_numbers_are_compact(value: float, shown: str) -> None:
    assert wording.number(value) == shown


def test_names_cannot_break_a_line() -> None:
    hostile = "a\n\x1b[31m\u202eb<script>" + "x" * 200
    shown = wording.label(hostile)
    assert shown.isprintable()
    assert len(shown) == wording.MAX_NAME_CHARACTERS
    assert wording.label("") == "the model"
    assert wording.listed(["a"]) == "a"
    assert wording.listed(["a", "b"]) == "a and b"
    assert wording.listed(["a", "b", "c", "d", "e"]) == "a, b, c and 2 more"
    assert wording.listed([]) == ""
    assert (
        wording.short_file_and_line(Source("/home/x/quicksal/model.py", 88))
        == "quicksal/model.py:88"
    )
    assert wording.at_line(None) == ""
