"""Rows of the network pictures: every layer once, in order, and few enough to read."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from saldiag.core.measurement import Measurements
from saldiag_reports.content import layer_order
from saldiag_reports.gallery import network as made
from saldiag_reports.gallery import runs
from saldiag_reports.plots.scales import log_limits, spread_apart, tick_label

LAYERS = st.lists(
    st.tuples(st.sampled_from("abcdefgh"), st.integers(0, 400)), min_size=1, max_size=300
).map(lambda pairs: sorted({f"{block}/layer_{number}" for block, number in pairs}))


@given(LAYERS, st.integers(8, 60))
def test_rows_hold_every_layer_once_in_order(layers, most):
    rows = layer_order.group_into_rows(layers, most)
    assert [layer for row in rows for layer in row.layers] == layers
    assert len(rows) <= most


@given(LAYERS)
def test_rows_do_not_cross_blocks_while_blocks_are_few(layers):
    assert all(
        len({layer_order.block_of(layer) for layer in row.layers}) == 1
        for row in layer_order.group_into_rows(layers)
    )


def test_a_thousand_blocks_still_fit():
    rows = layer_order.group_into_rows([f"layer_{index}" for index in range(1000)])
    assert len(rows) <= layer_order.MAX_ROWS
    assert sum(len(row.layers) for row in rows) == 1000


def test_labels_name_a_layer_a_whole_block_or_a_span():
    assert layer_order.LayerRow(("encoder/conv",)).label() == "encoder/conv"
    assert layer_order.LayerRow(("",)).label() == "(model)"
    assert layer_order.LayerRow(("enc/a", "enc/b"), whole=True).label() == "enc (2 layers)"
    assert layer_order.LayerRow(("enc/a", "enc/b")).label() == "enc/a … b"
    assert len(layer_order.LayerRow(("x" * 500, "y" * 500)).label(34)) <= 34


def test_network_order_is_that_of_the_calls():
    places = made.sample_network("sigmoid")
    paths = [place.path for place in places]
    measured = Measurements.of(made.make_wiring("m", places))
    assert layer_order.in_network_order([*reversed(paths), "elsewhere"], measured) == [
        *paths,
        "elsewhere",
    ]
    assert layer_order.in_network_order(["b", "a", "b"], Measurements()) == ["b", "a"]


def test_layer_norm_joins_its_variables_and_keeps_zero_none_and_infinity_apart():
    history = runs.learning_run().measured.need(made.GradientHistory)
    norm = np.array(history.norm)
    owners = [variable.layer for variable in history.variables]
    layer = "inception_5/depthwise_1_bn"
    mine = [index for index, owner in enumerate(owners) if owner == layer]
    assert len(mine) == 2
    norm[0, mine], norm[1, mine], norm[2, mine[0]] = 0, np.nan, np.nan
    norm[3, mine[1]] = np.inf
    norm[4, mine], norm[5, mine] = 3e200, 1e-200
    changed = made.GradientHistory(**{**vars(history), "norm": norm})
    got = layer_order.layer_norms(changed, [layer])[0]
    assert got[0] == 0
    assert np.isnan(got[1])
    assert got[2] == norm[2, mine[1]]
    assert np.isinf(got[3])
    assert got[4] == pytest.approx(3e200 * np.sqrt(2))
    assert got[5] == pytest.approx(1e-200 * np.sqrt(2))
    assert got[6] == pytest.approx(np.linalg.norm(norm[6, mine]))


@given(st.lists(st.floats(-2, 2), max_size=20))
def test_labels_keep_their_order_and_their_distance(positions):
    gap = 0.04
    placed = spread_apart(positions, gap, 0, 1)
    order = np.argsort(positions, kind="stable")
    ordered = np.array(placed)[order]
    assert len(placed) == len(positions)
    assert (np.diff(ordered) >= gap - 1e-9).all()
    assert all(-1e-9 <= place <= 1 + 1e-9 for place in placed)


@given(st.lists(st.floats(allow_nan=True, allow_infinity=True)))
def test_limits_hold_whatever_a_log_axis_can_show(values):
    low, high = log_limits(np.array(values))
    assert 0 < low < high < np.inf
    inside = [value for value in values if 1e-299 < value < 1e299]
    assert all(low <= value <= high for value in inside)


def test_tick_labels():
    assert [tick_label(value) for value in (0.5, 1e-7, 2e5, 0, 100)] == [
        "0.5",
        "10⁻⁷",
        "2·10⁵",
        "",
        "100",
    ]
