"""The reductions of a loss, and the derivatives by what they reduce."""

from __future__ import annotations

import keras
import pytest
import tensorflow as tf

from saldiag_probes.distribution.loss_terms import derivative, find_reductions

pytestmark = pytest.mark.tensorflow

WEIGHT = tf.Variable(tf.ones([4, 3]))


def parts(loss, *, items: int | None = 6):
    """Weight, size and kind of each reduction of ``loss(each, x)``; types it stopped at."""
    found = {}

    @tf.function
    def step(x):
        target = loss(tf.reduce_sum((x @ WEIGHT) ** 2, axis=-1), x)
        search = find_reductions(target, items)
        found["unknown"] = search.unknown
        found["kinds"] = [(r.of_items, r.averaged) for r in search.reductions]
        return [
            (tf.reduce_sum(derivative(target, r.values)), tf.size(r.values))
            for r in search.reductions
        ]

    signature = tf.TensorSpec([items, 4])
    numbers = step.get_concrete_function(signature)(tf.ones([6, 4]))
    rows = [
        (*kind, round(float(weight), 4), int(size))
        for kind, (weight, size) in zip(found["kinds"], numbers, strict=True)
    ]
    return rows, found["unknown"]


@pytest.mark.parametrize("items", [6, None])
@pytest.mark.parametrize(
    ("loss", "row"),
    [
        (lambda each, x: tf.reduce_mean(each), (True, True, 1.0, 6)),
        (lambda each, x: tf.reduce_sum(each) / 12, (True, False, 0.5, 6)),
        (lambda each, x: each, (True, False, 6.0, 6)),
        (lambda each, x: 3 * tf.reduce_mean(each) / 2, (True, True, 1.5, 6)),
        (lambda each, x: tf.reduce_mean((x @ WEIGHT) ** 2), (True, True, 1.0, 18)),
        (lambda each, x: tf.reduce_sum(tf.reduce_mean((x @ WEIGHT) ** 2, 0)),
         (True, False, 3.0, 18)),
        (lambda each, x: tf.nn.compute_average_loss(each, global_batch_size=12),
         (True, False, 0.5, 6)),
        (lambda each, x: tf.math.divide_no_nan(tf.reduce_sum(each), 6.0), (True, False, 1.0, 6)),
        (lambda each, x: tf.add_n([tf.reduce_mean(each), tf.constant(1.0)]),
         (True, True, 1.0, 6)),
        (lambda each, x: keras.losses.MeanSquaredError()(x, 2 * x), (True, False, 1.0, 6)),
    ],
)  # fmt: skip
def test_one_reduction_over_the_items(loss, row, items) -> None:
    rows, unknown = parts(loss, items=items)
    assert rows == [row]
    assert not unknown


def test_a_penalty_is_of_the_weights() -> None:
    rows, _ = parts(lambda each, x: tf.reduce_mean(each) + 0.1 * tf.reduce_sum(WEIGHT**2))
    assert rows == [(True, True, 1.0, 6), (False, False, 1.2, 12)]
    rows, _ = parts(lambda each, x: tf.reduce_mean(each) + tf.nn.l2_loss(WEIGHT))
    assert [row[:2] for row in rows] == [(True, True), (False, False)]


def test_what_is_not_understood_is_named() -> None:
    rows, unknown = parts(lambda each, x: tf.reduce_max(each))
    assert rows == []
    assert unknown == {"Max"}


def test_a_nested_function_hides_the_reduction() -> None:
    inner = tf.function(tf.reduce_mean)
    rows, unknown = parts(lambda each, x: inner(each))
    assert rows == []
    assert unknown <= {"PartitionedCall", "StatefulPartitionedCall"}
    assert unknown
