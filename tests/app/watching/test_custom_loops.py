"""``saldiag run``: custom loops with several functions, optimizers and networks."""

from __future__ import annotations

import json

import numpy as np
import pytest

from saldiag.core.files.run import Run
from saldiag.core.measurement import GradientFlow, GradientHistory

pytestmark = [pytest.mark.tensorflow, pytest.mark.slow]

FRAME = """
import numpy as np, keras, tensorflow as tf
keras.utils.set_random_seed(0)
rng = np.random.default_rng(0)
x = rng.standard_normal((64, 4)).astype("float32")
y = (x.sum(axis=1, keepdims=True) > 0).astype("float32")
def build():
    return keras.Sequential([
        keras.Input((4,)),
        keras.layers.Dense(8, "relu"),
        keras.layers.Dense(1, "sigmoid"),
    ])
def stepping(model, optimizer):
    def step(x, y):
        with tf.GradientTape() as tape:
            loss = keras.ops.mean(keras.losses.mean_squared_error(y, model(x, training=True)))
        weights = model.trainable_variables
        optimizer.apply(tape.gradient(loss, weights), weights)
        return loss
    return step
"""


@pytest.fixture
def run(program):
    """Run a program's text behind ``FRAME``; exit code, diagnosis and what was printed."""
    return lambda code, **options: program(FRAME + code, **options)


def histories(tmp_path):
    folders = (tmp_path / "run", *sorted((tmp_path / "run").glob("model-*")))
    return [Run(folder).read_measurements().need(GradientHistory) for folder in folders]


class TestSeveralFunctions:
    CODE = """
model = build()
step = tf.function(stepping(model, keras.optimizers.Adam()))
look = tf.function(lambda x: model(x, training=False))
for number in range(20):
    look(x)
    step(x, y)
    look(x)
    print("turn", number)
"""

    def test_those_that_do_not_train_are_no_steps(self, run):
        code, _, printed = run(self.CODE, steps=5)
        assert code == 0
        assert printed.out.count("turn ") == 5

    def test_one_that_calls_the_step_trains_too(self, run):
        code, _, printed = run(
            """
model = build()
inner = tf.function(stepping(model, keras.optimizers.Adam()))
inner(x, y)
@tf.function
def outer(x, y):
    return inner(x, y)
for number in range(20):
    outer(x, y)
    print("turn", number)
""",
            steps=5,
        )
        assert code == 0
        assert printed.out.count("turn ") == 4

    def test_steps_inside_of_a_function_count_each(self, run):
        code, _, printed = run(
            """
model = build()
step = stepping(model, keras.optimizers.Adam())
@tf.function
def epoch(x, y):
    for _ in tf.range(10):
        step(x, y)
for number in range(20):
    epoch(x, y)
    print("turn", number)
""",
            steps=15,
        )
        assert code == 0
        assert printed.out.count("turn ") == 2


GAN = """
generator, critic = build(), build()
one = decorated(stepping(generator, keras.optimizers.Adam()))
two = decorated(stepping(critic, keras.optimizers.Adam()))
"""
DECORATED = pytest.mark.parametrize("decorated", ["tf.function", "lambda f: f"])


class TestSeveralNetworks:
    @DECORATED
    @pytest.mark.parametrize("turns", [True, False])
    def test_taking_turns_is_told_from_one_after_the_other(self, turns, decorated, run, tmp_path):
        loops = (
            "for _ in range(3):\n    one(x, y)\n    two(x, y)\n"
            if turns
            else "for _ in range(3):\n    one(x, y)\nfor _ in range(3):\n    two(x, y)\n"
        )
        code, _, _ = run(f"decorated = {decorated}\n{GAN}{loops}")
        assert code == 0
        found = histories(tmp_path)
        assert [len(history.loss) for history in found] == [3, 3]
        assert all(np.isnan(history.loss).all() == turns for history in found)


class TestSeveralOptimizers:
    CODE = """
model = build()
first, second = keras.optimizers.Adam(), keras.optimizers.SGD()
@decorated
def step(x, y):
    with tf.GradientTape(persistent=True) as tape:
        predicted = model(x, training=True)
        loss = keras.ops.mean((y - predicted) ** 2)
    for optimizer, layer in ((first, model.layers[0]), (second, model.layers[1])):
        weights = layer.trainable_variables
        optimizer.apply(tape.gradient(loss, weights), weights)
for number in range(6):
    step(x, y)
    print("turn", number)
"""

    @DECORATED
    def test_of_one_model_make_one_report(self, decorated, run, tmp_path):
        code, found, _ = run(f"decorated = {decorated}\n{self.CODE}", probes="full")
        assert code == 0
        assert not found["findings"]
        (history,) = histories(tmp_path)
        assert len(history.variables) == 4
        assert len(history.steps) == 6
        assert np.isfinite(history.norm).all()
        assert json.loads((tmp_path / "run" / "run.json").read_text())["status"] == "finished"

    @DECORATED
    def test_a_step_of_both_is_one_step(self, decorated, run):
        _, _, printed = run(f"decorated = {decorated}\n{self.CODE}", steps=4)
        assert printed.out.count("turn ") == 4

    @DECORATED
    def test_each_with_a_loss_of_its_own_is_no_cut_gradient(self, decorated, run, tmp_path):
        """An actor and a critic over one body, each trained by its own optimizer."""
        code, found, _ = run(
            f"decorated = {decorated}\n"
            """
inputs = keras.Input((4,))
body = keras.layers.Dense(8, "tanh")
inner = body(inputs)
actor, critic = keras.layers.Dense(1), keras.layers.Dense(1)
model = keras.Model(inputs, [actor(inner), critic(inner)])
pairs = [(keras.optimizers.Adam(), actor), (keras.optimizers.SGD(0.1), critic)]
@decorated
def step(x, y):
    with tf.GradientTape(persistent=True) as tape:
        losses = [keras.ops.mean((y - predicted) ** 2) for predicted in model(x, training=True)]
    for loss, (optimizer, head) in zip(losses, pairs):
        weights = body.trainable_variables + head.trainable_variables
        optimizer.apply(tape.gradient(loss, weights), weights)
for _ in range(6):
    step(x, y)
"""
        )
        assert code == 0
        assert not found["findings"]
        assert Run(tmp_path / "run").read_measurements().get(GradientFlow) is None
