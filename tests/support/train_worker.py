"""A tiny training run in a process of its own, with deterministic operations.

Prints a digest of the best model's weights and the outcome as the last line; exits with 2 and one
line on stderr where the run fails. ``--kill-at-step`` kills the process with SIGKILL after that
step (counted from 0, over all epochs), the hardest end there is.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import signal
import sys
from pathlib import Path


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("out", type=Path)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--kill-at-step", type=int, default=-1)
    parser.add_argument("--resume", action="store_true")
    parser.add_argument("--recalibrate", action="store_true")
    options = parser.parse_args()

    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    import keras
    import tensorflow as tf
    from rich.console import Console

    from saldiag.core.errors import SaldiagError
    from saldiag.core.files.run import Run
    from saldiag.experiments.training import loop, progress
    from tests.support.training import small_data, small_recipe, tiny_model

    tf.config.experimental.enable_op_determinism()

    def kill(bar: progress.TrainingProgress, batch: int, logs: object = None) -> None:
        if bar.epoch * bar.steps + batch == options.kill_at_step:
            os.kill(os.getpid(), signal.SIGKILL)

    progress.TrainingProgress.on_train_batch_end = kill

    try:
        outcome = loop.run_training(
            tiny_model,
            small_data(),
            small_recipe(epochs=options.epochs, recalibrate=options.recalibrate),
            Run.create("train", options.out, resume=options.resume),
            probes="full",
            resume=options.resume,
            console=Console(file=sys.stdout, width=200),
        )
    except SaldiagError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    best = keras.models.load_model(outcome.best_path)
    digest = hashlib.sha256(b"".join(w.tobytes() for w in best.get_weights())).hexdigest()
    summary = {"weights": digest, "message": outcome.message, "best": outcome.best.epoch}
    sys.stdout.write(json.dumps(summary) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
