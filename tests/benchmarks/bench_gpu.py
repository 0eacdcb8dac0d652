# ruff: noqa: T201 - a script that prints a table
"""Watching a training on a GPU: what is measured, what it costs, and whether the weights differ.

    python tests/benchmarks/bench_gpu.py

QUICKSAL and three small models are compiled with Keras' default ``jit_compile``, which is True on a
machine with a GPU, and trained three times each: plainly, plainly once more, and watched. A GPU
does not always repeat itself, so the difference of the weights counts beside that of the two plain
trainings. On a machine without a GPU the script says so and ends; ``--anyway`` runs it there.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import sys
import time
from typing import Any

import numpy as np
from bench_watch import BATCH, MODELS

SMALL = ("mlp", "cnn", "lstm")
CASE = "quicksal"


@dataclasses.dataclass
class Training:
    """One training."""

    weights: list[Any]
    """All variables of the model at the end."""
    jit_compile: bool
    """What Keras made of its default."""
    first_seconds: float
    """Until the first step was taken: tracing, and compiling by XLA."""
    step_seconds: float
    """Median of the other steps."""
    watch: Any
    """The callback; None if it was not watched."""


def main() -> None:
    """Run the trainings and print a table."""
    options = parse()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    begun = time.monotonic()
    import tensorflow as tf

    gpus = tf.config.list_physical_devices("GPU")
    if not gpus and not options.anyway:
        print("this machine has no GPU that TensorFlow can use: nothing was measured")
        return
    for gpu in gpus:
        tf.config.experimental.set_memory_growth(gpu, True)
        print(tf.config.experimental.get_device_details(gpu).get("device_name", gpu.name))
    print(f"TensorFlow {tf.__version__}")
    print(
        f"{'model':<9} {'jit':<5} {'first step':<16} {'step':<22} {'weights differ':<24} measured"
    )
    failed = []
    for name in options.models:
        left = options.limit - (time.monotonic() - begun)
        if left < 0:
            print(f"{name:<9} left out: {options.limit} s are over")
        elif not compare(name, options.steps, options.schedule, left):
            failed.append(name)
    print(f"{time.monotonic() - begun:.0f} s")
    sys.exit(f"nothing was measured: {', '.join(failed)}" if failed else 0)


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    names = [*SMALL, CASE]
    parser.add_argument("--models", nargs="+", choices=names, default=names)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--schedule", default="economy", help="economy, business or full")
    parser.add_argument("--limit", type=float, default=420, help="seconds; no model begins later")
    parser.add_argument("--anyway", action="store_true", help="run on a CPU, too")
    return parser.parse_args()


def compare(name: str, steps: int, schedule: str, left: float) -> bool:
    """Print a row; whether gradients were measured."""
    begun = time.monotonic()
    plain = trained(name, steps, None)
    watched = trained(name, steps, schedule)
    enough = left - (time.monotonic() - begun) > plain.first_seconds * 2
    again = trained(name, steps, None) if enough else None
    repeats = "-" if again is None else difference(plain, again)
    history = next(iter(watched.watch.measurements()), None)
    told = watched.watch.failed or f"{0 if history is None else len(history.steps)} steps"
    print(
        f"{name:<9} {plain.jit_compile!s:<5} "
        f"{plain.first_seconds:5.1f} -> {watched.first_seconds:5.1f} s "
        f"{1e3 * plain.step_seconds:6.2f} -> {1e3 * watched.step_seconds:6.2f} ms   "
        f"{difference(plain, watched)} (plain {repeats})   {told}",
        flush=True,
    )
    return history is not None and bool(np.isfinite(history.norm).any())


def difference(one: Training, other: Training) -> str:
    """The largest difference of two models' variables."""
    pairs = list(zip(one.weights, other.weights, strict=True))
    if all(np.array_equal(a, b, equal_nan=True) for a, b in pairs):
        return "0"
    return f"{max(float(np.abs(a - b).max()) for a, b in pairs):.1e}"


def trained(name: str, steps: int, schedule: str | None) -> Training:
    """A model after so many steps of ``fit``."""
    import keras
    import tensorflow as tf

    from saldiag_probes.training.callback import Watch

    keras.utils.set_random_seed(1)
    model, x, y = MODELS[name]()
    data = tf.data.Dataset.from_tensor_slices((x, y)).batch(BATCH[name]).cache().repeat()
    watch = None if schedule is None else Watch(schedule)
    clock = Clock()
    callbacks = [clock.callback(), *([watch] if watch else [])]
    model.fit(data, steps_per_epoch=steps, epochs=1, verbose=0, callbacks=callbacks)
    weights = [variable.numpy() for variable in model.variables if variable.dtype != "string"]
    laps = np.diff(clock.times)
    return Training(
        weights,
        bool(model.jit_compile),
        laps[0],
        float(np.median(laps[1:])),
        watch,
    )


class Clock:
    """When the training began, and when each step ended."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def callback(self) -> Any:
        """The callback that reads the clock."""
        import keras

        def read(*_: Any, **__: Any) -> None:
            self.times.append(time.perf_counter())

        return keras.callbacks.LambdaCallback(on_train_begin=read, on_train_batch_end=read)


if __name__ == "__main__":
    main()
