# ruff: noqa: T201 - a script that prints a table
"""What the rules cost: the first pass on QUICKSAL, growth with depth, judging a long run.

    python tests/benchmarks/bench_rules.py

First pass: what is measured before any training on ``quicksal`` at 224x224, and all rules on it,
with one picture and with a batch of 8, whose forward pass alone takes seconds on two cores.
Growth: the same judging on chains of 10 to 2,000 layers (plain numbers), and the survey that
measures them on real ones; a slope of 1 in log-log is linear. Long run: 10,000 recorded steps of
500 layers (1,000 variables), judged.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))


def main() -> None:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("only", nargs="*", choices=(*PARTS, []), help="parts; default: all")
    parser.add_argument("--image-size", type=int, default=224)
    parser.add_argument("--batch-size", type=int, nargs="*", default=[1, 8])
    options = parser.parse_args()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    for name in options.only or PARTS:
        PARTS[name](options)


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    """Seconds and result."""
    begun = time.perf_counter()
    result = work()
    return time.perf_counter() - begun, result


def best(work: Callable[[], Any], times: int = 3) -> float:
    """Seconds of the fastest of some repetitions: what is left when nothing disturbs."""
    return min(timed(work)[0] for _ in range(times))


def first_pass(options: argparse.Namespace) -> None:
    """QUICKSAL: survey and data, each as the commands take them, and the rules."""
    for size in options.batch_size:
        with_batches_of(size, options.image_size)


def with_batches_of(batch_size: int, image_size: int) -> None:
    """The first pass at one size of batch."""
    from saldiag.app.examine.examination import Examination
    from saldiag.app.loading.registered_model import build_registered, read_pairs
    from saldiag.app.session.collector import Collector
    from saldiag.app.session.judging import judge
    from saldiag.app.session.options import Options, prepare_environment
    from saldiag.app.session.request import parse_request

    prepare_environment()
    asked = Options(image_size=image_size, batch_size=batch_size, weights="random")
    request = parse_request(asked)
    data, collector = read_pairs(request.data), Collector()
    seconds, subject = timed(
        lambda: build_registered(request.model, image_size, 1e-3, collector.files)
    )
    print(f"quicksal {image_size}x{image_size}, batch {batch_size}")
    print(f"  building the model                {seconds:6.2f} s")
    for name, parts in {
        "wiring and dtypes": {"flow": False, "activations": False},
        "the same, and one forward pass": {"flow": False, "activations": True},
        "the same, and one backward pass": {"flow": True, "activations": True},
    }.items():
        examination = Examination(Collector(), subject, data)
        survey, _ = timed(lambda: examination.survey(**parts))  # noqa: B023
        rules = best(lambda: judge(examination.session.measured))  # noqa: B023
        print(f"  {name:33} {survey:6.2f} s, rules {rules * 1000:.0f} ms, together "
              f"{survey + rules:.2f} s")  # fmt: skip
    looks, _ = timed(examination.examine_data)
    print(f"  data and loss                     {looks:6.2f} s")
    rules = best(lambda: judge(examination.session.measured))
    print(f"  rules on all of it                {rules:6.3f} s")


def growth(_: argparse.Namespace) -> None:
    """Judging and surveying chains of more and more layers."""
    from saldiag.app.session.judging import judge

    sizes = (10, 30, 100, 300, 1000, 2000)
    judging = [best(lambda: judge(chain(size, 50))) for size in sizes]  # noqa: B023
    surveys = [real(size) for size in sizes]
    print("layers     judging      survey")
    for size, judged, surveyed in zip(sizes, judging, surveys, strict=True):
        print(f"{size:6}  {judged * 1000:7.0f} ms  {surveyed:7.2f} s")
    print(f"slope   {slope(sizes[2:], judging[2:]):7.2f}     {slope(sizes[2:], surveys[2:]):7.2f}"
          "   (from 100 layers on; 1 is linear)")  # fmt: skip


def slope(sizes: Sequence[int], seconds: Sequence[float]) -> float:
    """Of the line through the points in log-log."""
    return float(np.polyfit(np.log(sizes), np.log(seconds), 1)[0])


def real(size: int) -> float:
    """Seconds to survey a chain of ``size`` dense layers."""
    import keras

    from saldiag_probes.survey import survey

    keras.backend.clear_session()
    sys.setrecursionlimit(100_000)  # Keras follows a chain by recursion
    hidden = [keras.layers.Dense(4, activation="relu") for _ in range(size - 1)]
    model = keras.Sequential([keras.Input((4,)), *hidden, keras.layers.Dense(1)])
    model.compile("adam", "mse", jit_compile=False)
    batch = (np.zeros((8, 4), "float32"), np.zeros((8, 1), "float32"))
    return timed(lambda: survey(model, batch, flow=False, activations=False))[0]


def long_run(_: argparse.Namespace) -> None:
    """10,000 steps of 500 layers."""
    from saldiag.app.session.judging import judge

    measured = chain(500, 10_000)
    judge(chain(10, 10))
    seconds, diagnosis = timed(lambda: judge(measured))
    broke = [s.reason for s in diagnosis.skipped if "error in rule" in s.reason]
    print(f"10,000 steps of 500 layers judged in {seconds:.2f} s; errors in rules: {broke}")


def chain(layers: int, steps: int) -> Any:
    """Measurements of a healthy chain of dense layers, with a history of that many steps."""
    from tests.support.chains import healthy_chain

    return healthy_chain(layers, steps)


PARTS = {"first": first_pass, "growth": growth, "long": long_run}

if __name__ == "__main__":
    main()
