"""``saldiag run`` changes nothing: losses, weights, draws and variables are plain Python's."""

from __future__ import annotations

import textwrap

import numpy as np
import pytest

from tests.support import models

pytestmark = [pytest.mark.tensorflow, pytest.mark.slow]

FRAME = """
import random
import numpy as np, keras, tensorflow as tf
keras.utils.set_random_seed(7)
rng = np.random.default_rng(0)
x = rng.normal(size=(96, 6)).astype("float32")
y = (x[:, :1] * 2).astype("float32")
def build(*layers):
    return keras.Sequential([keras.Input((6,)), keras.layers.Dense(8, "relu"), *layers,
                             keras.layers.Dense(1)])
def batches(count=[0]):
    while True:
        for start in range(0, 96, 16):
            count[0] += 1
            yield x[start:start + 16] + 0.01 * count[0], y[start:start + 16]
class Counting(keras.utils.PyDataset):
    count = 0
    def __len__(self):
        return 6
    def __getitem__(self, index):
        self.count += 1
        return x[16 * index:16 * index + 16] + 0.01 * self.count, y[16 * index:16 * index + 16]
def shifted(values):
    return values + np.float32(np.random.rand())
def noisy(a, b):
    drawn = tf.numpy_function(shifted, [a], tf.float32)
    return tf.ensure_shape(drawn, (None, 6)), b
plain = tf.data.Dataset.from_tensor_slices((x, y))
model = build()
"""
FINISH = """
print("weights", [w.tobytes().hex() for w in model.get_weights()])
print("draws", random.random(), np.random.rand(), tf.random.uniform(()).numpy(),
      float(keras.random.uniform(())))
"""
COMPILED = 'model.compile("adam", "mse")\n'
FIT = "print(model.fit({data}, epochs=2, shuffle={shuffle}, verbose=0{more}).history)\n"


def fit(data, *, shuffle=False, more=""):
    return COMPILED + FIT.format(data=data, shuffle=shuffle, more=more)


PROGRAMS = {
    "arrays that are shuffled": fit("x, y", shuffle=True),
    "a pipeline that shuffles": fit("plain.shuffle(32, seed=5).batch(16)"),
    "one that shuffles without a seed": fit("plain.shuffle(32).batch(16)"),
    "one that draws": fit(
        "plain.map(lambda a, b: (a + g.normal([6]), b)).batch(16)"
    ).replace(COMPILED, COMPILED + "g = tf.random.Generator.from_seed(3)\n"),
    "one of Python code": fit("plain.batch(16).map(noisy)"),
    "a generator": fit("batches()", more=", steps_per_epoch=6"),
    "a sequence with state": fit("Counting()"),
    "validation that shuffles": fit(
        "x, y", more=", validation_data=plain.shuffle(32, seed=2).batch(32).take(2)"
    ),
    "several steps at a time": fit("plain.shuffle(32, seed=5).batch(8)").replace(
        '"mse"', '"mse", steps_per_execution=5'
    ),
    "two fits": fit("plain.shuffle(32, seed=5).batch(16)") + FIT.format(
        data="plain.shuffle(32, seed=6).batch(16)", shuffle=False, more=""
    ),
    "under XLA": fit("x, y", shuffle=True).replace('"mse"', '"mse", jit_compile=True'),
    "few batches": fit("plain.shuffle(96, seed=1).batch(64)"),
}  # fmt: skip


OVERFIT = ("a pipeline that shuffles", "a generator", "two fits")


@pytest.mark.parametrize(
    ("name", "overfit"), [*((n, False) for n in PROGRAMS), *((n, True) for n in OVERFIT)]
)
def test_a_program_prints_what_it_prints_in_plain_python(name, overfit, program, capsys, tmp_path):
    text = textwrap.dedent(FRAME) + PROGRAMS[name] + FINISH
    outputs = []
    for watched in (False, True):
        if watched:
            options = {"overfit": True, "budget": 5.0, "max_steps": 20} if overfit else {}
            _, found, printed = program(text, **options)
            assert found is not None
        else:
            exec(compile(text, "program.py", "exec"), {"__name__": "__main__"})
            printed = capsys.readouterr()
        lines = printed.out.splitlines()
        outputs.append([line for line in lines if line.startswith(("{", "weights", "draws"))])
    assert outputs[0] == outputs[1]
    assert len(outputs[0]) >= 3


def test_a_loop_goes_on_where_xla_cannot_compile_the_probe(monkeypatch, keras):
    import tensorflow as tf

    import saldiag
    from saldiag.core.measurement import GradientHistory
    from tests.probes.training.test_first_step import cannot_be_compiled

    x, y = models.sign_data(32)
    weights, traces = [], []
    for watched in (False, True):
        keras.utils.set_random_seed(2)
        model = models.normalized("functional", compiled=False)
        optimizer = keras.optimizers.Adam(0.01)

        @tf.function(jit_compile=True)
        def step(x, y, model=model, optimizer=optimizer):
            traces.append(1)
            with tf.GradientTape() as tape:
                loss = tf.reduce_mean((model(x, training=True) - y) ** 2)
            variables = model.trainable_variables
            optimizer.apply(tape.gradient(loss, variables), variables)
            return loss

        if watched:
            cannot_be_compiled(monkeypatch)
            with saldiag.watch(model, optimizer, schedule="full") as watching:
                for _ in range(3):
                    step(x, y)
            measured = watching.diagnosis().measured
            assert measured.get(GradientHistory) is None
            assert "fails with the probe in it" in measured.missing[GradientHistory.key]
        else:
            for _ in range(3):
                step(x, y)
        weights.append(model.get_weights())
    for one, other in zip(*weights, strict=True):
        np.testing.assert_array_equal(one, other)
