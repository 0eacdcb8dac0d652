# ruff: noqa: T201 - a script that prints a table
"""What watching a training costs: steps of ``fit`` with and without it, on four kinds of models.

The first of them is trained in three ways: plainly, compiled by XLA (``mlp-xla``), and on two
replicas, which are two logical CPU devices (``mlp-2x``, in a process of its own).

    python tests/benchmarks/bench_watch.py --pairs 60

Two equal models in one process train in turn, a block of steps each, with the loop of ``fit`` and
its callbacks, so that whatever else the machine does falls on both alike; the ratio of each pair
counts, and the median of the ratios is the answer (its interval by bootstrap), in wall clock and in
processor time, which a busy machine disturbs less. What is paid once, before the first step and in
tracing it, is told in seconds beside it.
"""

from __future__ import annotations

import argparse
import functools
import os
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

GOALS = {
    "mlp": 0.05,
    "mlp-xla": 0.08,
    "mlp-2x": 0.08,
    "cnn": 0.01,
    "lstm": 0.01,
    "quicksal": 0.01,
}
"""What a watched step may cost more; a step of the first takes a millisecond, and XLA and replicas
may add three hundredths."""

REPLICAS = {"mlp-2x": 2}
"""The models that train on several replicas, and on how many."""

KINDS = ("watch", "run")
"""``saldiag.Watch(data)`` among the callbacks; what ``saldiag run`` puts there."""

BLOCK_SECONDS = 0.05
"""A block has as many steps as plainly take about so long."""

WARM_UP = 30
"""Steps before those that count: the schedule measures often at the start, by design."""

Block = Callable[[int], tuple[float, float]]
"""Takes so many steps; seconds of wall clock and of processor time."""


def main() -> None:
    """Run the benchmark and print a table."""
    options = parse()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    if not options.no_heading:
        print(
            f"{'model':<9} {'kind':<6} {'step':>8}  {'wall clock':<24} {'processor':<24} goal  once"
        )
    alone = len(options.models) == 1
    missed = [
        name
        for name in options.models
        if (
            any_above_goal(name, options) if alone or name not in REPLICAS else not in_process(name)
        )
    ]
    sys.exit(f"above the goal: {', '.join(missed)}" if missed else 0)


def any_above_goal(name: str, options: argparse.Namespace) -> bool:
    """Print a model's rows; whether one of them costs more than its goal."""
    return max([compare(name, kind, options) for kind in options.kinds]) > GOALS[name]


def in_process(name: str) -> bool:
    """Print a model's rows from a process of its own, whose devices are its own."""
    arguments = sys.argv[1:]
    if "--models" in arguments:
        first = arguments.index("--models") + 1
        while first < len(arguments) and arguments[first] in GOALS:
            del arguments[first]
        del arguments[first - 1]
    command = [sys.executable, __file__, *arguments, "--no-heading", "--models", name]
    sys.stdout.flush()
    return subprocess.run(command, check=False).returncode == 0


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", choices=GOALS, default=list(GOALS))
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--schedule", default="economy", help="economy, business or full")
    parser.add_argument("--no-heading", action="store_true", help="print only the rows")
    parser.add_argument("--pairs", type=int, default=60, help="timed pairs of blocks")
    return parser.parse_args()


def compare(name: str, kind: str, options: argparse.Namespace) -> float:
    """Print a row; returns how much more a watched step costs."""
    plain, plain_once = trained(name, None, options.schedule)
    watched, watched_once = trained(name, kind, options.schedule)
    steps = max(1, round(BLOCK_SECONDS / (plain(10)[0] / 10)))
    pairs = []
    for number in range(options.pairs):
        first, second = (plain, watched) if number % 2 else (watched, plain)
        one, other = first(steps), second(steps)
        pairs.append((one, other) if number % 2 else (other, one))
    times = np.array(pairs)  # pairs by kind by clock
    told = [ratio_of(times[:, :, clock]) for clock in (0, 1)]
    print(
        f"{name:<9} {kind:<6} {1e3 * np.median(times[:, 0, 0]) / steps:5.1f} ms  "
        f"{told[0][1]:<24} {told[1][1]:<24} {GOALS[name]:4.0%}  "
        f"{plain_once:.1f} -> {watched_once:.1f} s",
        flush=True,
    )
    return told[0][0]


def ratio_of(times: Any) -> tuple[float, str]:
    """The median of the ratios of pairs of seconds, less 1; and in words, with its interval."""
    ratios = times[:, 1] / times[:, 0] - 1
    draws = np.random.default_rng(0).choice(ratios, (2000, len(ratios)))
    low, high = np.percentile(np.median(draws, axis=1), [2.5, 97.5])
    more = float(np.median(ratios))
    return more, f"{more:+6.1%} [{low:+.1%}, {high:+.1%}]"


def trained(name: str, kind: str | None, schedule: str) -> tuple[Block, float]:
    """A model under ``fit``'s own loop, warmed up; and seconds until its first step was taken."""
    import keras
    import tensorflow as tf

    keras.utils.set_random_seed(1)
    strategy = strategy_of(name)
    with strategy.scope():
        model, x, y = MODELS[name]()
        model.optimizer.build(model.trainable_variables)  # as fit does
    size = BATCH[name]
    dataset = tf.data.Dataset.from_tensor_slices((x, y)).batch(size).cache().repeat()
    data = iter(strategy.experimental_distribute_dataset(dataset) if name in REPLICAS else dataset)
    begun = time.perf_counter()
    callbacks = keras.callbacks.CallbackList(
        watching(kind, model, (x[:size], y[:size]), schedule), add_history=True, model=model
    )
    model.make_train_function()
    callbacks.on_train_begin()
    callbacks.on_epoch_begin(0)
    taken = 0

    def block(steps: int) -> tuple[float, float]:
        nonlocal taken
        wall, processor = time.perf_counter(), time.process_time()
        for _ in range(steps):  # these are the lines of fit
            callbacks.on_train_batch_begin(taken)
            logs = model.train_function(data)
            callbacks.on_train_batch_end(taken, logs)
            taken += 1
        float(logs["loss"])
        return time.perf_counter() - wall, time.process_time() - processor

    block(1)
    once = time.perf_counter() - begun
    block(WARM_UP)
    return block, once


@functools.cache
def strategy_of(name: str) -> Any:
    """The strategy that a model trains under; TensorFlow's default one for most."""
    import tensorflow as tf

    if name not in REPLICAS:
        return tf.distribute.get_strategy()
    count = REPLICAS[name]
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(
        cpu, [tf.config.LogicalDeviceConfiguration()] * count
    )
    return tf.distribute.MirroredStrategy([f"CPU:{number}" for number in range(count)])


def watching(kind: str | None, model: Any, batch: Any, schedule: str) -> list[Any]:
    """The callbacks that watch."""
    import saldiag

    if kind is None:
        return []
    if kind == "watch":
        return [saldiag.Watch(batch, schedule)]
    return as_run_does(model, batch, schedule)


def as_run_does(model: Any, batch: Any, schedule: str) -> list[Any]:
    """What ``saldiag run`` adds to the callbacks, after it has looked at the model."""
    import tempfile
    from pathlib import Path

    from saldiag.app.loading.subject import Subject
    from saldiag.app.program.options import ProgramOptions
    from saldiag.app.session.session import Session
    from saldiag.app.watching.fit_watcher import FitWatcher
    from saldiag.app.watching.model_record import ProgramLines
    from saldiag.app.watching.watched_model import WatchedModel
    from saldiag.core.training.fit_plan import FitPlan

    options = ProgramOptions(Path("train.py"), probes=schedule)
    folder = Path(tempfile.mkdtemp()) / "run"
    session = Session("run", config=options.config(), seed=0, out=folder)
    watched = WatchedModel(session, Subject(model), ProgramLines(), options)
    watched.examine_first_batch(batch, FitPlan())
    watched.examine_batches((batch,))
    return [FitWatcher(watched, FitPlan())]


def mlp(jit_compile: bool | str = "auto") -> tuple[Any, Any, Any]:
    """Three layers, the smallest thing that is worth training."""
    import keras

    model = keras.Sequential(
        [
            keras.Input((32,)),
            keras.layers.Dense(64, "relu"),
            keras.layers.Dense(64, "relu"),
            keras.layers.Dense(1),
        ]
    )
    model.compile(keras.optimizers.Adam(), "mse", jit_compile=jit_compile)
    return model, *drawn((256, 32), (256, 1))


def cnn() -> tuple[Any, Any, Any]:
    """Convolutions with BatchNorm on small pictures."""
    import keras

    layers = keras.layers
    model = keras.Sequential([keras.Input((32, 32, 3))])
    for filters in (16, 32, 64):
        model.add(layers.Conv2D(filters, 3, padding="same", use_bias=False))
        model.add(layers.BatchNormalization())
        model.add(layers.ReLU())
        model.add(layers.MaxPooling2D())
    model.add(layers.GlobalAveragePooling2D())
    model.add(layers.Dense(10, "softmax"))
    model.compile(keras.optimizers.Adam(), "sparse_categorical_crossentropy")
    x, y = drawn((128, 32, 32, 3), (128, 1))
    return model, x, (y * 9.99).astype("int32")


def lstm() -> tuple[Any, Any, Any]:
    """A recurrent network over sequences of 50."""
    import keras

    model = keras.Sequential(
        [keras.Input((50, 16)), keras.layers.LSTM(64), keras.layers.Dense(1, "sigmoid")]
    )
    model.compile(keras.optimizers.Adam(), "binary_crossentropy")
    x, y = drawn((128, 50, 16), (128, 1))
    return model, x, (y > 0.5).astype("float32")


def quicksal() -> tuple[Any, Any, Any]:
    """The built-in subject."""
    import keras

    from saldiag.quicksal.model import quicksal

    model: Any = quicksal(96, weights="random", seed=1)
    model.compile(keras.optimizers.Adam(1e-3), loss="mae")
    x, y = drawn((32, 96, 96, 3), (32, 96, 96, 1))
    return model, x, (y > 0.5).astype("float32")


def drawn(inputs: tuple[int, ...], targets: tuple[int, ...]) -> tuple[Any, Any]:
    """Normal inputs, and targets in [0, 1)."""
    generator = np.random.default_rng(0)
    return generator.standard_normal(inputs, "float32"), generator.random(targets, "float32")


MODELS: dict[str, Callable[[], tuple[Any, Any, Any]]] = {
    "mlp": mlp,
    "mlp-xla": functools.partial(mlp, jit_compile=True),
    "mlp-2x": mlp,
    "cnn": cnn,
    "lstm": lstm,
    "quicksal": quicksal,
}
BATCH = {"mlp": 32, "mlp-xla": 32, "mlp-2x": 32, "cnn": 32, "lstm": 32, "quicksal": 8}

if __name__ == "__main__":
    main()
