"""A custom loop in two processes: each measures its own part."""

from __future__ import annotations

import json
import socket
import subprocess
import sys

import pytest

pytestmark = [pytest.mark.tensorflow, pytest.mark.slow]

PROGRAM = """
import json, os, sys
ports, index = json.loads(sys.argv[1]), int(sys.argv[2])
os.environ["TF_CONFIG"] = json.dumps({
    "cluster": {"worker": [f"localhost:{port}" for port in ports]},
    "task": {"type": "worker", "index": index},
})
import keras, numpy as np, tensorflow as tf
from saldiag.core.files.jsonio import jsonable
from saldiag.core.measurement import Measurements
from saldiag.rules.engine.engine import diagnose
from saldiag.subject.source.stack_frames import source_in_traceback
from saldiag_probes.distribution.watching import watching_replicas

strategy = tf.distribute.MultiWorkerMirroredStrategy()
with strategy.scope():
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
    optimizer = keras.optimizers.SGD(0.1)
x = np.random.default_rng(1).normal(size=(32, 4)).astype("float32")
data = tf.data.Dataset.from_tensor_slices((x, x[:, :1])).batch(8)

def step(x, y):
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean((model(x) - y) ** 2)
    gradients = tape.gradient(loss, model.trainable_variables)
    optimizer.apply_gradients(zip(gradients, model.trainable_variables))
    return loss

@tf.function
def run(x, y):
    return strategy.reduce("MEAN", strategy.run(step, args=(x, y)), axis=None)

with watching_replicas(model, source_in_traceback) as watch:
    for batch in strategy.experimental_distribute_dataset(data):
        run(*batch)
    measured = watch.collect()
found = diagnose(Measurements.of(measured), verdict="not_tested", select=["SD0"])
sys.stdout.write(json.dumps({
    "failed": watch.failed,
    "rules": [finding.rule for finding in found.findings],
    "processes": measured.processes,
    "replicas": measured.replicas,
    "items": jsonable(measured.items),
    "weight": measured.terms[0].weight,
    "digest": measured.weight_digests[0],
}))
"""


def _free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("localhost", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def test_a_mean_per_process_is_named_in_both() -> None:
    ports = json.dumps(_free_ports(2))
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", PROGRAM, ports, str(index)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for index in range(2)
    ]
    ended = [worker.communicate(timeout=300) for worker in workers]
    found = [json.loads(out) if out else pytest.fail(err[-2000:]) for out, err in ended]
    for one in found:
        assert one["failed"] is None
        assert (one["processes"], one["replicas"]) == (2, 2)
        assert one["items"][0] == [4]
        assert one["weight"] == pytest.approx(2.0)
        assert "SD001" in one["rules"]
    assert found[0]["digest"] == found[1]["digest"]
