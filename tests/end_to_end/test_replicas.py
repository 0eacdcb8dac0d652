"""``saldiag run`` on programs that train on two replicas, each on its part of the CPU."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest

from tests.support.command_line import read_diagnosis, run_saldiag_process

pytestmark = [pytest.mark.tensorflow, pytest.mark.slow]

DEVICES = """
import tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
STRATEGY = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
"""
REHEARSED = """
import tensorflow as tf
STRATEGY = tf.distribute.MirroredStrategy()
"""
FRAME = """
import sys
import numpy as np, keras
keras.utils.set_random_seed(1)
rng = np.random.default_rng(0)
x = rng.random((240, 8)).astype("float32")
y = x.sum(1, keepdims=True)
data = tf.data.Dataset.from_tensor_slices((x, y)).shuffle(64, seed=3).batch(32)
with STRATEGY.scope():
    model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(16, "relu"),
                              keras.layers.BatchNormalization(), keras.layers.Dense(1)])
    optimizer = keras.optimizers.SGD(0.05)
"""
FIT = """
with STRATEGY.scope():
    model.compile(optimizer, "mse")
print("losses", model.fit(data, epochs=3, verbose=0).history)
"""
LOOP = """
def step(a, b):
    with tf.GradientTape() as tape:
        each = tf.reduce_sum((model(a, training=True) - b) ** 2, axis=-1)
        loss = tf.reduce_mean(each) if "wrong" in sys.argv else tf.reduce_sum(each) / 32  # here
    variables = model.trainable_variables
    optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables))
    return loss
@tf.function
def train(a, b):
    return STRATEGY.reduce("SUM", STRATEGY.run(step, args=(a, b)), axis=None)
for epoch in range(3):
    for a, b in STRATEGY.experimental_distribute_dataset(data):
        loss = train(a, b)
print("losses", float(loss))
"""
FINISH = """
print("weights", [w.tobytes().hex() for w in model.get_weights()])
"""
PROGRAMS = {"fit": FIT, "loop": LOOP}


def printed(text):
    return [line for line in text.splitlines() if line.startswith(("losses", "weights"))]


@pytest.fixture
def run(tmp_path):
    def run_program(text, *arguments, options=(), name="run"):
        (tmp_path / "program.py").write_text(textwrap.dedent(text))
        folder = tmp_path / name
        words = ["run", "--out", str(folder), *options, "program.py", *arguments]
        return run_saldiag_process(*words, cwd=tmp_path), folder

    return run_program


@pytest.mark.parametrize("form", PROGRAMS)
def test_two_replicas_are_measured_and_not_disturbed(form, run, tmp_path):
    text = FRAME + PROGRAMS[form] + FINISH
    watched, folder = run(DEVICES + text)
    plain = subprocess.run(
        [sys.executable, "program.py"], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert watched.returncode == 0, watched.stdout + watched.stderr
    assert printed(plain.stdout) == printed(watched.stdout)
    assert len(printed(plain.stdout)) == 2
    found = read_diagnosis(folder)
    assert found["root_cause"] is None
    assert found["verdict"] == "learns"
    one_device = text.replace("STRATEGY.scope()", "keras.name_scope('x')")
    if form == "fit":
        single, alone = run(REHEARSED.replace("MirroredStrategy", "get_strategy") + one_device,
                            name="alone")  # fmt: skip
        assert single.returncode == 0, single.stderr
        assert len(found["skipped"]) <= len(read_diagnosis(alone)["skipped"]) + 2


@pytest.mark.parametrize("options", [(), ("--replicas", "2")], ids=["given", "rehearsed"])
def test_a_loss_averaged_per_replica_is_named_at_its_line(options, run):
    devices = REHEARSED if options else DEVICES
    finished, folder = run(devices + FRAME + LOOP, "wrong", options=options)
    assert finished.returncode == 1, finished.stdout + finished.stderr
    cause = read_diagnosis(folder)["root_cause"]
    assert cause["rule"] == "SD001"
    assert cause["source"]["text"].endswith("# here")
