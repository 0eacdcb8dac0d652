"""Gradients measured on several replicas: one row per step, of the gradient that is applied.

Each number of logical devices needs a process of its own: TensorFlow wants to know it at its start.
"""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytestmark = [pytest.mark.tensorflow, pytest.mark.slow]

ROOT = Path(__file__).parents[3]

RUN = """
import json, sys
import keras
import numpy as np
import tensorflow as tf
from saldiag.core.training.schedule import every, never
from saldiag_probes.training import step_statistics
from saldiag_probes.training.callback import Watch

replicas = int(sys.argv[1])
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(
    cpu, [tf.config.LogicalDeviceConfiguration()] * max(replicas, 2)
)
L, O = keras.layers, keras.optimizers
GLOBAL, STEPS = 16, 6
draw = np.random.default_rng(0)
X = draw.random((GLOBAL * STEPS, 8), "float32")
Y = X.sum(1, keepdims=True)


class Own(keras.Sequential):
    def train_step(self, data):
        x, y = data
        with tf.GradientTape() as tape:
            loss = self.compute_loss(x, y, self(x, training=True))
        variables = list(reversed(self.trainable_variables))
        self.optimizer.apply(tape.gradient(loss, variables), variables)
        return {"loss": loss}


def network(kind, norm=False):
    layers = [keras.Input((8,)), L.Dense(16, activation="tanh"), L.Dense(1, dtype="float32")]
    if norm:
        layers.insert(2, L.BatchNormalization())
        layers.insert(2, L.Dropout(0.2))
    return kind(layers)


def fitted(kind, optimizer, norm, policy, hook, **options):
    keras.config.set_dtype_policy(policy)
    with strategy.scope():
        model = network(kind, norm)
        model.compile(optimizer(), "mse", **options)
        callbacks = [hook] if hook else []
        model.fit(X, Y, batch_size=GLOBAL, shuffle=False, verbose=0, callbacks=callbacks)
    return model, model.optimizer


def looped(traced, mean, hook, embedding=False):
    x = (X * 9).astype("int32") if embedding else X
    with strategy.scope():
        model, optimizer = network(keras.Sequential), O.SGD(0.05, momentum=0.9)
        if embedding:
            model = keras.Sequential(
                [keras.Input((8,), dtype="int32"), L.Embedding(9, 2), L.Flatten(), L.Dense(1)]
            )
        optimizer.build(model.trainable_variables)  # tf.function could not create the momenta
    data = tf.data.Dataset.from_tensor_slices((x, Y)).batch(GLOBAL)
    data = strategy.experimental_distribute_dataset(data)

    def step(a, b):
        with tf.GradientTape() as tape:
            each = tf.reduce_sum((model(a, training=True) - b) ** 2, -1)
            loss = tf.reduce_mean(each) if mean else tf.reduce_sum(each) / GLOBAL
        variables = model.trainable_variables
        optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables))
        return loss

    def train(a, b):
        return strategy.reduce("SUM", strategy.run(step, args=(a, b)), axis=None)

    if hook:
        hook.attach(model, optimizer)
    if traced:
        train = tf.function(train)
    for a, b in data:
        train(a, b)
    if hook:
        hook.close()
    return model, optimizer


PROGRAMS = {
    "fit": lambda h: fitted(keras.Sequential, lambda: O.Adam(0.01), False, "float32", h),
    "eager fit": lambda h: fitted(
        keras.Sequential, lambda: O.Adam(0.01), False, "float32", h, run_eagerly=True),
    "norm": lambda h: fitted(keras.Sequential, lambda: O.Adam(0.01), True, "float32", h),
    "own step": lambda h: fitted(Own, lambda: O.Adam(0.01), False, "float32", h),
    "decay": lambda h: fitted(keras.Sequential, lambda: O.AdamW(0.01), False, "float32", h),
    "clipped": lambda h: fitted(
        keras.Sequential, lambda: O.SGD(0.1, global_clipnorm=0.01), False, "float32", h),
    "scaled": lambda h: fitted(
        keras.Sequential, lambda: O.LossScaleOptimizer(O.SGD(0.1), initial_scale=64.0), False,
        "float32", h),
    "overflow": lambda h: fitted(
        keras.Sequential, lambda: O.LossScaleOptimizer(O.SGD(0.1), initial_scale=1e38), False,
        "float32", h),
    "mixed": lambda h: fitted(
        keras.Sequential, lambda: O.Adam(0.01), False, "mixed_float16", h),
    "loop": lambda h: looped(True, False, h),
    "eager loop": lambda h: looped(False, False, h),
    "embedding": lambda h: looped(True, False, h, embedding=True),
    "mean": lambda h: looped(True, True, h),
    "branches": lambda h: looped(True, False, h),
    "scaled branches": lambda h: PROGRAMS["scaled"](h),
}


# One for all programs: the collective operations of a second one would collide with its own.
if replicas == 1:
    strategy = tf.distribute.get_strategy()
else:
    strategy = tf.distribute.MirroredStrategy([f"CPU:{i}" for i in range(replicas)])


def run(name, schedule, histograms):
    keras.utils.set_random_seed(1)
    step_statistics.FEW_ELEMENTS = 0 if "branches" in name else 1 << 14  # as for large models
    hook = Watch(schedule, histograms) if schedule else None
    model, optimizer = PROGRAMS[name](hook)
    keras.config.set_dtype_policy("float32")
    state = [part.numpy().tobytes() for v in [*model.variables, *optimizer.variables]
             for part in strategy.experimental_local_results(v.value)]
    return state, hook


def of(name):
    plain, _ = run(name, None, never)
    full, hook = run(name, "full", every(2))
    economy, other = run(name, "economy", never)
    found = {
        "same": plain == full == economy, "failed": [hook.failed, other.failed],
        "taken": hook.steps, "attributes": sorted(
            {"apply", "_all_reduce_sum_gradients"} & set(vars(hook._last._probes[0]._optimizer))),
    }
    measured = hook.measurements()
    if hook.failed is None and measured:
        history = measured[0]
        for field in ("steps", "norm", "mean", "maximum", "zero_share", "nonfinite_share",
                      "update_ratio", "weight_norm", "loss", "loss_scale"):
            found[field] = getattr(history, field).tolist()
        found["counts"] = measured[1].counts.sum(1).tolist()
        found["histograms"] = len(measured[1].names)
        replica = hook._last._probes[0].collect_replicas()
        found["replicas"] = None if replica is None else {
            "steps": replica.steps.tolist(), "norm": replica.norm.tolist(),
            "loss": replica.loss.tolist()}
    return found


print("RESULT", json.dumps({name: of(name) for name in (sys.argv[2:] or PROGRAMS)}))
"""

FIELDS = (
    "norm", "mean", "maximum", "zero_share", "nonfinite_share", "update_ratio", "weight_norm",
    "loss", "loss_scale",
)  # fmt: skip
PROGRAMS = (
    "fit", "eager fit", "norm", "own step", "decay", "clipped", "scaled", "overflow", "mixed",
    "loop", "eager loop", "embedding", "mean", "branches", "scaled branches",
)  # fmt: skip


@functools.cache
def results(replicas: int) -> Any:
    process = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", RUN, str(replicas)],
        env=os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    lines = [line for line in process.stdout.splitlines() if line.startswith("RESULT ")]
    assert lines, process.stderr[-3000:]
    return json.loads(lines[-1].removeprefix("RESULT "))


@pytest.mark.parametrize("replicas", [2, 4])
@pytest.mark.parametrize("program", PROGRAMS)
def test_the_training_is_the_same_bit_for_bit(program: str, replicas: int) -> None:
    found = results(replicas)[program]
    assert found["failed"] == [None, None]
    assert found["same"]
    assert found["attributes"] == []


@pytest.mark.parametrize("replicas", [2, 4])
@pytest.mark.parametrize("program", PROGRAMS)
def test_a_step_is_one_row(program: str, replicas: int) -> None:
    found = results(replicas)[program]
    assert found["taken"] == 6
    assert found["steps"] == list(range(6))
    assert np.isfinite(found["loss"]).all()


@pytest.mark.parametrize("replicas", [2, 4])
@pytest.mark.parametrize(
    "program",
    [
        "fit",
        "eager fit",
        "own step",
        "decay",
        "scaled",
        "loop",
        "eager loop",
        "embedding",
        "branches",
        "scaled branches",
    ],
)
def test_the_rows_are_those_of_one_device(program: str, replicas: int) -> None:
    found, expected = results(replicas)[program], results(1)[program]
    for name in FIELDS:
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-5, atol=1e-12, err_msg=name)
    assert found["histograms"] == expected["histograms"] > 0
    assert found["counts"] == expected["counts"]


def test_a_mean_in_each_replica_is_a_gradient_that_many_times_too_large() -> None:
    healthy = results(2)["loop"]
    for replicas in (2, 4):
        wrong = results(replicas)["mean"]
        ratio = np.array(wrong["norm"][0]) / np.array(healthy["norm"][0])
        np.testing.assert_allclose(ratio, replicas, rtol=1e-5)
        assert wrong["loss"][0] == pytest.approx(replicas * healthy["loss"][0], rel=1e-5)


@pytest.mark.parametrize("replicas", [2, 4])
def test_each_replica_has_a_norm_and_a_loss(replicas: int) -> None:
    found = results(replicas)["loop"]
    parts = found["replicas"]
    assert parts["steps"] == found["steps"]
    norm, loss = np.array(parts["norm"]), np.array(parts["loss"])
    assert norm.shape == loss.shape == (6, replicas)
    np.testing.assert_allclose(loss.sum(1), found["loss"], rtol=1e-6)
    total = np.linalg.norm(found["norm"], axis=1)
    assert (norm > 0).all()
    assert (total <= norm.sum(1) * (1 + 1e-6)).all()
    assert np.unique(norm[0].round(9)).size == replicas
    assert results(1)["loop"]["replicas"] is None


def test_clipping_comes_before_the_sum() -> None:
    found = results(2)["clipped"]
    parts = np.array(found["replicas"]["norm"])
    total = np.linalg.norm(found["norm"], axis=1)
    assert (parts > 0.01).all()
    assert (total <= 0.02 * (1 + 1e-5)).all()


def test_a_step_that_the_loss_scale_skips() -> None:
    found = results(2)["overflow"]
    assert found["loss_scale"][0] == pytest.approx(1e38)
    assert np.isinf(found["norm"][0]).any()
    assert np.array(found["update_ratio"][0]).max() == 0
