# ruff: noqa: T201 - a script that prints a table
"""What the gradients probe costs: time and memory of a training step with and without it.

    python tests/benchmarks/bench_overhead.py --image-size 96 --batch-size 8 --pairs 40

Time: two equal models in one process take steps in turn, so that whatever else the machine does
falls on both alike; the ratio of each pair counts, and the median of the ratios is the answer (its
interval by bootstrap), in wall clock and in processor time, which a busy machine disturbs less.
Memory: the largest resident set of a fresh process for each kind, in turn.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

Step = Callable[[], tuple[float, float]]
"""Takes a training step; seconds of wall clock and of processor time."""

KINDS = ("plain", "gradients", "histograms")
"""No probe; gradients at every step; the same and histograms at the default of ``overfit``."""


def main() -> None:
    """Run the benchmark and print a table, or be one of its subprocesses."""
    options = parse()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    if options.memory_of:
        print(json.dumps(peak_memory(options)))
        return
    print(f"quicksal {options.image_size}x{options.image_size}, batch {options.batch_size}")
    report_memory(options)  # first: a child's peak counts from its parent's size at the fork
    for kind in KINDS[1:]:
        report_time(kind, options)


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--image-size", type=int, default=96)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--pairs", type=int, default=40, help="timed pairs of steps")
    parser.add_argument("--processes", type=int, default=3, help="processes of each kind (memory)")
    parser.add_argument("--memory-of", choices=KINDS, help=argparse.SUPPRESS)
    return parser.parse_args()


def stepper(kind: str, options: argparse.Namespace) -> tuple[Step, float]:
    """A function that takes one step and returns its seconds; and seconds of the first step."""
    import keras
    import tensorflow as tf

    from saldiag.core.training.schedule import every, logarithmic, never
    from saldiag.quicksal.model import quicksal
    from saldiag_probes.training.callback import Watch

    keras.utils.set_random_seed(1)
    model: Any = quicksal(options.image_size, weights="random", seed=1)
    model.compile(keras.optimizers.Adam(1e-3), loss="mae", jit_compile=False)
    model.optimizer.build(model.trainable_variables)  # as fit does
    watch = Watch(every(1), histograms=logarithmic(2) if kind == "histograms" else never)
    if kind != "plain":
        watch.set_model(model)
        watch.on_train_begin()
    size, count = options.image_size, options.batch_size
    x = tf.random.stateless_uniform((count, size, size, 3), (1, 2), -1, 1)
    y = tf.cast(tf.random.stateless_uniform((count, size, size, 1), (3, 4)) > 0.5, tf.float32)
    model.make_train_function()
    data = iter(tf.data.Dataset.from_tensors((x, y)).repeat())

    def step() -> tuple[float, float]:
        wall, processor = time.perf_counter(), time.process_time()
        logs = model.train_function(data)
        if kind != "plain":
            watch.on_train_batch_end(0)
        float(logs["loss"])
        return time.perf_counter() - wall, time.process_time() - processor

    first, _ = step()
    if watch.failed:
        sys.exit(watch.failed)
    return step, first


def report_time(kind: str, options: argparse.Namespace) -> None:
    """Compare the steps of ``kind`` with plain ones, pair by pair."""
    plain, plain_first = stepper("plain", options)
    probed, probed_first = stepper(kind, options)
    pairs = []
    for number in range(-2, options.pairs):  # the first two warm up
        first, second = (plain, probed) if number % 2 else (probed, plain)
        one, other = first(), second()
        pairs.append((one, other) if number % 2 else (other, one))
    print(f"{kind:>12}: tracing and first step {plain_first:.1f} -> {probed_first:.1f} s")
    for position, name in enumerate(("wall clock", "processor time")):
        times = np.array(pairs[2:])[:, :, position]
        ratios = times[:, 1] / times[:, 0] - 1
        draws = np.random.default_rng(0).choice(ratios, (2000, len(ratios)))
        low, high = np.percentile(np.median(draws, axis=1), [2.5, 97.5])
        before, after = 1e3 * np.median(times, axis=0)
        print(
            f"{'':>12}  {name:<14} {before:7.1f} -> {after:7.1f} ms a step, "
            f"{np.median(ratios):+6.1%} [{low:+.1%}, {high:+.1%}] over {len(ratios)} pairs",
            flush=True,
        )


def peak_memory(options: argparse.Namespace) -> float:
    """Largest resident set of this process, in MB, after a few steps."""
    step, _ = stepper(options.memory_of, options)
    for _ in range(5):
        step()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def report_memory(options: argparse.Namespace) -> None:
    """Compare peak memory, each kind in processes of its own."""
    found: dict[str, list[float]] = {kind: [] for kind in KINDS}
    size = ["--image-size", str(options.image_size), "--batch-size", str(options.batch_size)]
    for _ in range(options.processes):
        for kind, peaks in found.items():
            command = [sys.executable, __file__, *size, "--memory-of", kind]
            output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            peaks.append(float(json.loads(output.splitlines()[-1])))
    plain = float(np.median(found["plain"]))
    for kind, peaks in found.items():
        peak = float(np.median(peaks))
        print(f"{kind:>12}: peak memory {peak:7.0f} MB, {peak / plain - 1:+6.1%}", flush=True)


if __name__ == "__main__":
    main()
