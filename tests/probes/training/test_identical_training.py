"""With probes on, a training run is the same run, bit for bit."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.tensorflow, pytest.mark.slow]

ROOT = Path(__file__).parents[3]

RUN = '''
import hashlib, json, random, sys
import numpy as np
import keras
import tensorflow as tf
from saldiag.core.training.schedule import every
from saldiag_probes.training import step_statistics
from saldiag_probes.training.callback import Watch

tf.config.experimental.enable_op_determinism()
L = keras.layers


class Noisy(keras.Sequential):
    """Draws from TensorFlow's own counters too, after the optimizer's step."""

    def train_step(self, data):
        logs = super().train_step(data)
        return {**logs, "noise": tf.random.uniform(())}


def run(probe, policy, eagerly):
    keras.utils.set_random_seed(7)
    keras.config.set_dtype_policy(policy)
    model = Noisy([
        keras.Input((16, 16, 3)),
        L.RandomFlip(seed=1),
        L.Conv2D(8, 3, padding="same", use_bias=False), L.BatchNormalization(), L.ReLU(6),
        L.DepthwiseConv2D(3, padding="same", use_bias=False), L.BatchNormalization(),
        L.SpatialDropout2D(0.2), L.GlobalAveragePooling2D(), L.Dropout(0.3),
        L.Dense(4, kernel_regularizer="l2"), L.Activation("softmax", dtype="float32"),
    ])
    optimizer = keras.optimizers.AdamW(1e-2, global_clipnorm=1.0, use_ema=True)
    model.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"],
                  run_eagerly=eagerly, jit_compile=False)
    draw = np.random.default_rng(0)
    x, y = draw.random((80, 16, 16, 3), "float32"), draw.integers(0, 4, 80)
    step_statistics.FEW_ELEMENTS = 0 if probe == 3 else 1 << 14  # with branches, without
    watch = Watch(every(probe or 1), histograms=every(5))
    logs = model.fit(x, y, batch_size=8, epochs=2, verbose=0, validation_data=(x[:16], y[:16]),
                     callbacks=[watch] if probe else []).history
    if probe:
        assert watch.failed is None, watch.failed
        history = watch.measurements()[0]
        assert history.steps.tolist() == list(range(0, 20, probe)), history.steps
        assert (history.update_ratio > 0).any()
    variables = [*model.variables, *model.optimizer.variables, *model.metrics_variables]
    state = [v.numpy().tobytes() for v in variables]
    state += [json.dumps(logs).encode(), repr(random.getstate()).encode(),
              np.random.get_state()[1].tobytes(), tf.random.uniform((4,)).numpy().tobytes(),
              np.array(keras.random.normal((4,))).tobytes()]
    return [hashlib.sha256(part).hexdigest() for part in state]


policy, eagerly = sys.argv[1], sys.argv[2] == "eager"
plain, again, full, part = (run(interval, policy, eagerly) for interval in (0, 0, 1, 3))
print(json.dumps({"parts": len(plain), "repeats": plain == again, "same": plain == full == part}))
'''


@pytest.mark.parametrize("policy", ["float32", "mixed_float16"])
@pytest.mark.parametrize("mode", ["graph", "eager"])
def test_twenty_steps_are_bit_identical(policy: str, mode: str) -> None:
    """Op determinism is global to a process, so the runs have one of their own."""
    process = subprocess.run(
        [sys.executable, "-c", RUN, policy, mode],
        capture_output=True, text=True, check=False, timeout=900, cwd=ROOT,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "2", "PYTHONPATH": _path()},
    )  # fmt: skip
    assert process.returncode == 0, process.stderr[-2000:]
    found: dict[str, Any] = json.loads(process.stdout.splitlines()[-1])
    assert found["parts"] > 30
    assert found["repeats"], "two runs without probes differ: the test itself is unsound"
    assert found["same"]


def _path() -> str:
    return os.pathsep.join(str(ROOT / folder) for folder in (".", "probes", "reports"))
