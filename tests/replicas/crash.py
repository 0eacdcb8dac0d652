"""Errors of programs on two logical CPU devices, which a process of its own raises."""

from __future__ import annotations

import json

import tensorflow as tf

from tests.support.command_line import run_python

FRAME = """
import json, sys
import keras, numpy as np, tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
x = np.ones((8, 4), "float32")
def model(**settings):
    with strategy.scope():
        made = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
        made.compile(keras.optimizers.SGD(**settings), "mse")
    return made
try:
    {code}
except Exception as error:
    sys.stdout.write(json.dumps([type(error).__name__, str(error)]))
"""


def error_of(code: str) -> Exception:
    """The error that a line of code ends with."""
    ended = run_python(FRAME.replace("{code}", code))
    kind, message = json.loads(ended.stdout)
    if kind == "InvalidArgumentError":
        return tf.errors.InvalidArgumentError(None, None, message)
    return {"ValueError": ValueError, "RuntimeError": RuntimeError}[kind](message)
