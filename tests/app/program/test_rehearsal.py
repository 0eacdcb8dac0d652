"""``saldiag run --replicas``: the program's strategy gets the parts of the CPU."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.command_line import run_saldiag_process

pytestmark = [pytest.mark.tensorflow, pytest.mark.slow]

TRAINING = """
import keras, numpy as np
keras.utils.set_random_seed(1)
with strategy.scope():
    m = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
    m.compile("sgd", "mse")
x = np.random.rand(16, 4).astype("float32")
m.fit(x, x[:, :1], batch_size=8, epochs=1, verbose=0)
print("replicas", strategy.num_replicas_in_sync)
"""

LOOKS_FOR_GPUS = """
import tensorflow as tf
gpus = tf.config.list_physical_devices("GPU")
for gpu in gpus:
    tf.config.experimental.set_memory_growth(gpu, True)
tf.config.set_visible_devices(gpus[:3], "GPU")
if len(gpus) > 1:
    strategy = tf.distribute.MirroredStrategy()
else:
    strategy = tf.distribute.get_strategy()
"""

NAMES_GPUS = """
import tensorflow as tf
strategy = tf.distribute.MirroredStrategy(
    ["GPU:0", "GPU:1", "GPU:2", "GPU:3"], cross_device_ops=tf.distribute.NcclAllReduce()
)
"""

NAMES_CPUS = """
import tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
"""

ONE_DEVICE = """
import tensorflow as tf
strategy = tf.distribute.OneDeviceStrategy("CPU:0")
"""

NO_STRATEGY = """
import tensorflow as tf
strategy = tf.distribute.get_strategy()
"""


@pytest.mark.parametrize(
    ("program", "replicas", "line"),
    [
        (LOOKS_FOR_GPUS, 4, "rehearsed on the CPU: MirroredStrategy with 4 replicas"),
        (NAMES_GPUS, 4, "rehearsed on the CPU: MirroredStrategy with 4 replicas"),
        (NAMES_CPUS, 2, "rehearsed on the CPU: MirroredStrategy with 2 replicas"),
        (ONE_DEVICE, 1, "--replicas 4: OneDeviceStrategy keeps the program's own devices"),
        (NO_STRATEGY, 1, "--replicas 4: the program creates no tf.distribute strategy"),
    ],
)
def test_the_strategy_gets_the_parts_of_the_cpu(program, replicas, line, tmp_path: Path) -> None:
    script = tmp_path / "train.py"
    script.write_text(program + TRAINING)
    ended = run_saldiag_process(
        "run", "--replicas", "4", "--out", tmp_path / "run", script, cwd=tmp_path
    )
    assert f"replicas {replicas}\n" in ended.stdout, ended.stderr
    assert line in ended.stdout + ended.stderr
    assert ended.returncode in {0, 1}
