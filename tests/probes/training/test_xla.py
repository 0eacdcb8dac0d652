"""Gradients measured inside a training step that XLA compiles."""

from __future__ import annotations

import itertools
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from saldiag.core.measurement import GradientHistory, Histograms, Measurements
from saldiag.core.training.schedule import Schedule, every, never
from tests.support import models

pytestmark = [pytest.mark.tensorflow, pytest.mark.slow]

MEASURED = ("norm", "mean", "maximum", "zero_share", "update_ratio", "weight_norm", "loss")


@pytest.fixture(autouse=True)
def float32_at_the_end() -> Iterator[None]:
    import keras

    yield
    keras.config.set_dtype_policy("float32")


def dense() -> Any:
    import keras

    return models.sequential((6,), keras.layers.Dense(8, activation="tanh"), keras.layers.Dense(1))


def normalized() -> Any:
    """BatchNorm's gradients are what XLA fuses into Adam's update."""
    import keras

    layers = keras.layers
    return models.sequential(
        (6,), layers.Dense(8), layers.BatchNormalization(), layers.Dropout(0.2), layers.Dense(1)
    )


def embedding() -> Any:
    import keras

    return models.sequential(
        (6,),
        keras.layers.Embedding(9, 3),
        keras.layers.Flatten(),
        keras.layers.Dense(1),
        dtype="int32",
    )


def own_step() -> Any:
    import keras
    import tensorflow as tf

    class Own(keras.Sequential):
        def train_step(self, data: Any) -> Any:
            x, y = data
            with tf.GradientTape() as tape:
                loss = self.compute_loss(x, y, self(x, training=True))
            variables = list(reversed(self.trainable_variables))
            self.optimizer.apply(tape.gradient(loss, variables), variables)
            return {"loss": loss}

    return Own(normalized().layers)


def optimizer(name: str) -> Any:
    import keras

    kinds = {
        "adam": lambda: keras.optimizers.Adam(0.01),
        "clipped": lambda: keras.optimizers.AdamW(0.01, global_clipnorm=0.1, use_ema=True),
        "accumulated": lambda: keras.optimizers.SGD(0.1, gradient_accumulation_steps=3),
        "scaled": lambda: keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.01)),
    }
    return kinds[name]()


def data() -> tuple[Any, Any]:
    x = np.random.default_rng(0).integers(0, 9, (24, 6))
    return x.astype("float32") / 9, x.mean(1, keepdims=True).astype("float32")


class Run:
    """Two calls of ``fit``: the state afterwards, what was measured, and how often it traced."""

    def __init__(
        self,
        make: Callable[[], Any],
        kind: str = "adam",
        schedule: str | Schedule | None = None,
        histograms: Schedule = never,
        **options: Any,
    ) -> None:
        import keras

        from saldiag_probes.training.callback import Watch

        keras.utils.set_random_seed(1)
        keras.config.set_dtype_policy(options.pop("policy", "float32"))
        model = make()
        model.compile(optimizer(kind), "mse", **{"jit_compile": True} | options)
        counted: list[int] = []
        step = model.train_step

        def train_step(batch: Any) -> Any:
            counted.append(1)
            return step(batch)

        model.train_step = train_step
        x, y = data()
        if make is embedding:
            x = (x * 9).round().astype("int32")
        watch = None if schedule is None else Watch(schedule, histograms)
        for _ in range(2):
            model.fit(x, y, batch_size=8, epochs=2, verbose=0, callbacks=[watch] if watch else [])
        variables = [*model.variables, *model.optimizer.variables]
        self.state = [np.asarray(v).tobytes() for v in variables]
        self.traced = len(counted)
        if watch is not None:
            assert watch.failed is None
            self.found = Measurements.of(*watch.measurements())
            self.history = self.found.need(GradientHistory)


CASES = [
    (normalized, "adam", {}),
    (normalized, "clipped", {}),
    (normalized, "accumulated", {}),
    (normalized, "scaled", {}),
    (normalized, "adam", {"policy": "mixed_float16"}),
    (normalized, "adam", {"steps_per_execution": 2}),
    (embedding, "adam", {}),
    (own_step, "adam", {}),
]


@pytest.mark.parametrize(("make", "kind", "options"), CASES)
def test_the_training_is_the_same_bit_for_bit(
    make: Any, kind: str, options: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from saldiag_probes.training import step_statistics

    plain = Run(make, kind, **options)
    # With a branch before the step, as for large models, and without.
    for schedule, histograms, few in (("economy", never, 0), ("full", every(3), 1 << 14)):
        monkeypatch.setattr(step_statistics, "FEW_ELEMENTS", few)
        watched = Run(make, kind, schedule, histograms, **options)
        assert watched.state == plain.state
        assert watched.traced == plain.traced
        assert np.isfinite(watched.history.loss).all()


@pytest.mark.parametrize(
    ("make", "kind"),
    [(dense, "adam"), (dense, "accumulated"), (dense, "scaled"), (embedding, "adam")],
)
def test_the_rows_are_those_without_xla(make: Any, kind: str) -> None:
    compiled, plain = (
        Run(make, kind, "full", every(3), jit_compile=jit_compile) for jit_compile in (True, False)
    )
    assert compiled.history.steps.tolist() == plain.history.steps.tolist() == list(range(12))
    for name in MEASURED:
        found, expected = getattr(compiled.history, name), getattr(plain.history, name)
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-12, err_msg=name)
    found, expected = (run.found.need(Histograms) for run in (compiled, plain))
    assert len(found.names) == len(expected.names)
    assert np.abs(found.counts - expected.counts).sum() <= 2  # a value on an edge
    np.testing.assert_allclose(found.edges, expected.edges, rtol=1e-5, atol=1e-6)


def test_eager_and_auto_are_measured() -> None:
    for options in ({"jit_compile": "auto"}, {"jit_compile": False, "run_eagerly": True}):
        assert Run(dense, "adam", "full", **options).history.steps.tolist() == list(range(12))


@pytest.mark.parametrize("built", [False, True])
def test_a_custom_loop(built: bool) -> None:
    import keras
    import tensorflow as tf

    from saldiag_probes.training.callback import watch

    def trained(watched: bool, jit_compile: bool = True) -> Any:
        keras.utils.set_random_seed(1)
        model, adam = normalized(), optimizer("adam")
        if built:
            adam.build(model.trainable_variables)
        x, y = (tf.constant(part[:8]) for part in data())
        traced: list[int] = []

        @tf.function(jit_compile=jit_compile)
        def step() -> Any:
            traced.append(1)
            with tf.GradientTape() as tape:
                loss = tf.reduce_mean((model(x, training=True) - y) ** 2)
            adam.apply(tape.gradient(loss, model.trainable_variables), model.trainable_variables)
            return loss

        if not watched:
            losses = [float(step()) for _ in range(5)]
            hook = None
        else:
            with watch(model, adam, schedule="full", histograms=every(2)) as hook:
                losses = [float(step()) for _ in range(4)]
            losses.append(float(step()))  # with hooks that were removed, and no new compilation
            assert hook.failed is None
        return losses, [v.numpy().tobytes() for v in model.variables], len(traced), hook

    losses, state, traced, _ = trained(False)
    found = trained(True)
    assert found[:3] == (losses, state, traced)
    history = Measurements.of(*found[3].measurements()).need(GradientHistory)
    assert history.steps.tolist() == [0, 1, 2, 3]
    np.testing.assert_allclose(history.loss, losses[:4], rtol=1e-6)


def test_a_new_table_of_steps_has_the_same_shape(monkeypatch: pytest.MonkeyPatch) -> None:
    """XLA compiles again for each shape of a variable."""
    from saldiag_probes.training import ring_buffer

    monkeypatch.setattr(ring_buffer, "PLANNED_STEPS", 8)
    ring = ring_buffer.RingBuffer(1, 4, every(3))
    tables = [ring._upcoming.shape.as_list()]
    for action in (ring.stop, ring.resume, *itertools.repeat(ring.advance, 9), ring.plan_ahead):
        action()
        tables.append(ring._upcoming.shape.as_list())
    assert all(shape == [9] for shape in tables)
    assert ring._upcoming.numpy()[:3].tolist() == [9, 12, 15]


def test_statistics_of_extreme_values_do_without_dynamic_shapes() -> None:
    import tensorflow as tf

    from saldiag_probes.training.batched_statistics import gradient_statistics, pack_tensors

    rows = [[3e30, 4e30], [3e-30, 4e-30], [3.0, 0.0], [0.0, 0.0], [np.nan, 1.0], [np.inf, 1.0]]
    tensors = [tf.constant(row, tf.float32) for row in rows]

    @tf.function(jit_compile=True)
    def compiled() -> Any:
        return gradient_statistics(pack_tensors(tensors))

    expected = gradient_statistics(pack_tensors(tensors)).numpy()
    np.testing.assert_allclose(compiled().numpy(), expected, rtol=1e-6)
    assert expected[2, 3] == 0.5
    assert expected[3, 3] == 1


def test_repeated_indices_of_a_sparse_gradient_are_summed() -> None:
    import tensorflow as tf

    from saldiag_probes.training.batched_statistics import gradient_statistics, pack_tensors

    def statistics(indices: Any, values: Any) -> Any:
        shape = tf.constant([9, 2])
        return gradient_statistics(pack_tensors([tf.IndexedSlices(values, indices, shape)]))

    values = tf.constant([[1.0, 2], [3, 4], [-1, 0], [5, 6]])
    for indices in ([3, 1, 3, 1], [0, 1, 2, 8], [4, 4, 4, 4]):
        arguments = tf.constant(indices), values
        found = tf.function(statistics, jit_compile=True)(*arguments)
        np.testing.assert_allclose(found, statistics(*arguments), rtol=1e-6, atol=1e-15)


COUNTED = """
import keras, numpy as np
from saldiag_probes.training import ring_buffer
from saldiag_probes.training.callback import Watch

ring_buffer.PLANNED_STEPS = 8
model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
model.compile("adam", "mse", jit_compile=True)
x = np.ones((64, 4), "float32")
watch = Watch("economy")
for _ in range(2):
    model.fit(x, x[:, :1], batch_size=4, verbose=0, callbacks=[watch])
assert watch.failed is None and watch.steps == 32
"""


def test_xla_compiles_once_for_all_tables_of_steps_and_both_fits() -> None:
    process = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", COUNTED],
        env=os.environ
        | {"TF_CPP_MIN_LOG_LEVEL": "0", "TF_CPP_VMODULE": "device_compilation_profiler=1"},
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        check=True,
    )
    compiled = re.findall(r"Compiled __inference_one_step_on_data_\d+ (\d+) times", process.stderr)
    assert compiled == ["1"]
