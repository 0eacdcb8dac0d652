"""Histograms, from arrays and inside the graph."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

pytestmark = pytest.mark.tensorflow

FLOATS = npst.arrays(
    np.float64,
    st.integers(0, 40),
    elements=st.floats(-1e300, 1e300) | st.sampled_from([np.nan, np.inf, -np.inf, 0.0]),
)


@settings(deadline=None)
@given(FLOATS)
def test_every_finite_element_is_in_one_bin(values: Any) -> None:
    from saldiag_probes.training.histograms import BINS, histogram_of

    counts, edges = histogram_of(values)
    assert counts.shape == (BINS,)
    assert edges.shape == (BINS + 1,)
    assert counts.sum() == np.isfinite(values).sum()
    assert (counts >= 0).all()
    assert (np.diff(edges) >= 0).all()
    finite = values[np.isfinite(values)]
    if finite.size:
        assert edges[0] <= finite.min()
        assert finite.max() <= edges[-1]


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "int64", "bool"])
def test_agrees_with_numpy(dtype: str) -> None:
    from saldiag_probes.training.histograms import histogram_of

    values = (np.random.default_rng(0).normal(size=(50, 20)) * 10).astype(dtype)
    counts, edges = histogram_of(values, bins=10)
    expected, expected_edges = np.histogram(values.astype("float64"), bins=10)
    np.testing.assert_allclose(edges, expected_edges)
    assert np.abs(counts - expected).sum() <= 2  # an element on an edge may go either way


def test_equal_values_and_none_at_all() -> None:
    from saldiag_probes.training.histograms import histogram_of

    counts, edges = histogram_of(np.full(7, 3.0))
    assert (edges[0], edges[-1], counts.sum()) == (2.5, 3.5, 7)
    counts, edges = histogram_of([np.nan])
    assert (edges[0], edges[-1], counts.sum()) == (0.0, 1.0, 0)


def test_in_the_graph_as_in_numpy() -> None:
    import tensorflow as tf

    from saldiag_probes.training.histograms import BINS, gradient_histograms, histogram_of

    generator = np.random.default_rng(1)
    arrays: list[Any] = [
        generator.normal(size=(30, 7)).astype("float32"),
        None,
        np.zeros(5, "float32"),
        generator.normal(size=300).astype("float16"),
        np.array([1.0, -1.0, np.nan, np.inf], "float32"),
    ]
    tensors = [None if a is None else tf.constant(a) for a in arrays]
    rows = tf.function(lambda: gradient_histograms(tensors))().numpy()
    assert rows.shape == (5, 2 + BINS)
    assert np.isnan(rows[1]).all()
    for index in (0, 2, 3, 4):
        counts, edges = histogram_of(arrays[index])
        np.testing.assert_allclose(rows[index, :2], [edges[0], edges[-1]], rtol=1e-6)
        assert np.abs(rows[index, 2:] - counts).sum() <= 4
        assert rows[index, 2:].sum() == counts.sum()
    assert np.isnan(gradient_histograms([None, None]).numpy()).all()


def test_a_sparse_gradient_counts_the_zeros_it_leaves_out() -> None:
    import tensorflow as tf

    from saldiag_probes.training.histograms import gradient_histograms, histogram_of

    slices = tf.IndexedSlices(
        tf.constant([[1.0, 2.0], [3.0, 4.0], [1.0, 1.0]]),
        tf.constant([3, 5, 3]),
        tf.constant([50, 2]),
    )
    row = gradient_histograms([slices]).numpy()[0]
    counts, edges = histogram_of(tf.convert_to_tensor(slices).numpy())
    assert row[:2].tolist() == [edges[0], edges[-1]]
    assert row[2:].tolist() == counts.tolist()


def test_joined_in_order_of_step() -> None:
    from saldiag_probes.training.histograms import histograms_of, merge_histograms

    late = histograms_of({"weights/a": np.arange(4), "weights/b": np.arange(5)}, step=9)
    early = histograms_of({"weights/a": np.arange(6)}, step=2)
    both = merge_histograms([late, histograms_of({}, 4), early])
    assert both.names == ("weights/a", "weights/a", "weights/b")
    assert both.steps.tolist() == [2, 9, 9]
    assert both.counts.sum(axis=1).tolist() == [6, 4, 5]
    assert merge_histograms([]).names == ()
