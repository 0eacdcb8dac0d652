"""What the text of a program says about the number of replicas."""

from __future__ import annotations

import pytest

from saldiag.core.measurement import Source
from saldiag_probes.distribution.program_text import may_weight_loss, replica_scaling

HEAD = """import keras, tensorflow as tf
strategy = tf.distribute.MirroredStrategy()
"""


def scaling(tmp_path, body: str):
    file = tmp_path / f"train{abs(hash(body))}.py"
    file.write_text(HEAD + body)
    return replica_scaling(str(file))


def test_a_batch_that_grows_without_the_rate(tmp_path) -> None:
    found = scaling(
        tmp_path,
        "batch_size = 32 * strategy.num_replicas_in_sync\noptimizer = keras.optimizers.SGD(0.1)\n",
    )
    assert (found.batch, found.rate_scaled, found.rate) == (3, False, 4)


@pytest.mark.parametrize(
    "rate", ["0.1 * strategy.num_replicas_in_sync", "0.1 * batch_size / 256", "learning_rate=base"]
)
def test_a_rate_that_grows_with_it(tmp_path, rate: str) -> None:
    found = scaling(
        tmp_path,
        "batch_size = 32 * strategy.num_replicas_in_sync\nbase = 0.1 * batch_size\n"
        f"optimizer = keras.optimizers.SGD({rate})\n",
    )
    assert found.batch == 3
    assert found.rate_scaled is True


@pytest.mark.parametrize(
    "body",
    [
        "keras.optimizers.SGD(keras.optimizers.schedules.CosineDecay(0.1, 100))\n",
        "keras.optimizers.SGD(rate)\n",
        "keras.optimizers.SGD(0.1)\nkeras.callbacks.LearningRateScheduler(str)\n",
        "model.compile('adam')\n",
    ],
)
def test_a_rate_that_is_not_known(tmp_path, body: str) -> None:
    found = scaling(tmp_path, "size = strategy.num_replicas_in_sync\nx.batch(8 * size)\n" + body)
    assert found.batch == 4
    assert found.rate_scaled is None


def test_a_batch_that_does_not_grow(tmp_path) -> None:
    found = scaling(
        tmp_path,
        "batch_size = 64 // strategy.num_replicas_in_sync\noptimizer = keras.optimizers.SGD(0.1)\n",
    )
    assert found.batch == 0


def test_what_is_no_python_says_nothing(tmp_path) -> None:
    file = tmp_path / "train.py"
    file.write_text("strategy.num_replicas_in_sync (")
    assert replica_scaling(str(file)).batch == 0
    assert replica_scaling(str(tmp_path / "none.py")).rate_scaled is None


@pytest.mark.parametrize(
    ("statement", "replicas", "expected"),
    [
        ("loss = 0.5 * tf.reduce_sum(each) / size", 2, True),
        ("loss = tf.reduce_sum(each) / (2 * size)", 2, True),
        ("loss = tf.reduce_sum(each) / size", 2, False),
        ("loss = tf.reduce_mean((a - b) ** 2)", 2, False),
        ("loss = 0.5 * tf.reduce_sum(each) / size", 4, False),
        ("loss = ALPHA * tf.reduce_sum(each) / size", 4, True),
        ("loss = tf.reduce_sum(weights * each) / size", 4, False),
        ("loss = loss * strategy.num_replicas_in_sync", 4, False),
        ("loss = loss_fn(y, model(x)) / replicas", 2, False),
        ("loss = (\n    tf.reduce_sum(each)\n    / 4\n)", 4, True),
    ],
)
def test_what_could_be_a_weight(tmp_path, statement, replicas, expected) -> None:
    file = tmp_path / f"{abs(hash((statement, replicas)))}.py"
    file.write_text(statement + "\n")
    assert may_weight_loss(Source(str(file), 1), replicas) is expected


def test_a_line_that_cannot_be_read_could_have_one() -> None:
    assert may_weight_loss(Source("none.py", 3), 2)
