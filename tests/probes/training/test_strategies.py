"""Other strategies than MirroredStrategy: measured, or not with a reason, and never disturbed."""

from __future__ import annotations

import json
import os
import socket
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
from saldiag_probes.training.callback import Watch

kind = sys.argv[1]
distribute = tf.distribute
if kind == "workers":
    strategy = distribute.MultiWorkerMirroredStrategy()
elif kind == "servers":
    spec = tf.train.ClusterSpec({"worker": [sys.argv[2]], "ps": [sys.argv[3]]})
    servers = [distribute.Server(spec, job_name=job, protocol="grpc") for job in ("worker", "ps")]
    resolver = distribute.cluster_resolver.SimpleClusterResolver(spec, rpc_layer="grpc")
    strategy = distribute.ParameterServerStrategy(resolver)
else:
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    if kind == "central":
        strategy = distribute.experimental.CentralStorageStrategy(["CPU:0", "CPU:1"])
    else:
        strategy = distribute.OneDeviceStrategy("CPU:1")
x = np.random.default_rng(0).random((64, 8), "float32")
y = x.sum(1, keepdims=True)


def run(hook):
    keras.utils.set_random_seed(1)
    with strategy.scope():
        layers = keras.layers
        model = keras.Sequential(
            [keras.Input((8,)), layers.Dense(16, activation="tanh"), layers.Dense(1)]
        )
        optimizer = keras.optimizers.SGD(0.05)
        optimizer.build(model.trainable_variables)

    def step(a, b):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum((model(a, training=True) - b) ** 2) / 16
        variables = model.trainable_variables
        optimizer.apply(tape.gradient(loss, variables), variables)

    train = tf.function(lambda a, b: strategy.run(step, args=(a, b)))
    if hook:
        hook.attach(model, optimizer)
    if kind == "servers":
        coordinator = distribute.coordinator.ClusterCoordinator(strategy)
        for _ in range(4):
            coordinator.schedule(train, args=(tf.constant(x[:16]), tf.constant(y[:16])))
        coordinator.join()
    else:
        data = tf.data.Dataset.from_tensor_slices((x, y)).batch(16)
        for a, b in strategy.experimental_distribute_dataset(data):
            train(a, b)
    if hook:
        hook.close()
    return [np.asarray(v).tobytes().hex() for v in model.variables]


plain, hook = run(None), Watch("full")
found = {"same": plain == run(hook), "failed": hook.failed, "taken": hook.steps}
if hook.measurements():
    history = hook.measurements()[0]
    found |= {name: getattr(history, name).tolist() for name in ("norm", "update_ratio", "loss")}
    parts = hook._last._probes[0].collect_replicas()
    found["own"] = None if parts is None else parts.norm.tolist()
print("RESULT", json.dumps(found), flush=True)
import os
os._exit(0)  # servers keep a process alive
"""


def started(*arguments: str, **environment: str) -> Any:
    return subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", RUN, *arguments],
        env=os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"} | environment,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def result(process: Any) -> Any:
    out, err = process.communicate(timeout=300)
    lines = [line for line in out.splitlines() if line.startswith("RESULT ")]
    assert lines, err[-3000:]
    found = json.loads(lines[-1].removeprefix("RESULT "))
    assert found["same"]
    return found


def free_addresses(count: int) -> list[str]:
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("localhost", 0))
    addresses = [f"localhost:{each.getsockname()[1]}" for each in sockets]
    for each in sockets:
        each.close()
    return addresses


def test_several_workers_each_measure_the_gradient_of_all() -> None:
    addresses = free_addresses(2)
    alone = result(started("device"))
    processes = [
        started(
            "workers",
            TF_CONFIG=json.dumps(
                {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": index}}
            ),
        )
        for index in range(2)
    ]
    both = [result(process) for process in processes]
    assert both[0]["norm"] == both[1]["norm"]
    for index, found in enumerate(both):
        assert found["failed"] is None
        assert found["taken"] == 4
        np.testing.assert_allclose(found["norm"], alone["norm"], rtol=1e-5)
        np.testing.assert_allclose(found["update_ratio"], alone["update_ratio"], rtol=1e-5)
        own = np.isfinite(found["own"])
        assert own[:, index].all()
        assert not own[:, 1 - index].any()
    # Each process knows the losses of its own replicas.
    losses = np.mean([found["loss"] for found in both], axis=0)
    np.testing.assert_allclose(losses, alone["loss"], rtol=1e-5)


def test_central_storage_is_measured() -> None:
    found, alone = result(started("central")), result(started("device"))
    assert found["failed"] is alone["failed"] is None
    for name in ("norm", "update_ratio", "loss"):
        np.testing.assert_allclose(found[name], alone[name], rtol=1e-5)
    assert np.shape(found["own"]) == (4, 2)
    assert alone["own"] is None


def test_parameter_servers_are_refused_with_a_reason() -> None:
    found = result(started("servers", *free_addresses(2)))
    assert "ParameterServerStrategy" in found["failed"]
    assert "norm" not in found
