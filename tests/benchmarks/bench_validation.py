"""What checking the validation costs, as a share of the training's own time.

    python tests/benchmarks/bench_validation.py

Trains three models that validate after each epoch and whose validation does not follow (so that
every check is made that can be), watched by ``saldiag.Watch``. The time of the checks before the
last one is a share of the whole training, at most 1 % by default; the last one is paid once.
"""

from __future__ import annotations

import sys

import keras
import numpy as np

import saldiag
from saldiag.core.measurement import ValidationCheck


def dense(rng):
    x = rng.normal(size=(2048, 32)).astype("float32")
    y = rng.integers(0, 4, 2048)  # noise: the model can only memorise
    parts = [keras.layers.Dense(64, activation="relu"), keras.layers.Dense(4, "softmax")]
    return keras.Sequential([keras.Input((32,)), *parts]), x, y, 60


def batchnorm(rng):
    x = rng.uniform(size=(512, 32, 32, 3)).astype("float32")
    y = (x.mean((1, 2, 3)) > np.median(x.mean((1, 2, 3)))).astype("int64")
    block = []
    for filters in (16, 32, 32):
        block += [keras.layers.Conv2D(filters, 3, 2, "same", use_bias=False),
                  keras.layers.BatchNormalization(), keras.layers.ReLU()]  # fmt: skip
    head = [keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(2, "softmax")]
    return keras.Sequential([keras.Input((32, 32, 3)), *block, *head]), x, y, 30


def recurrent(rng):
    x = rng.normal(size=(512, 24, 8)).astype("float32")
    y = (x[:, :4].sum((1, 2)) > 0).astype("int64")
    parts = [keras.layers.LSTM(32), keras.layers.Dropout(0.3), keras.layers.Dense(2, "softmax")]
    return keras.Sequential([keras.Input((24, 8)), *parts]), x, y, 30


def main() -> None:
    """Print one row a model."""
    sys.stdout.write(f"{'model':<12}{'training':>12}{'checks':>10}{'share':>9}{'last check':>13}\n")
    for make in (dense, batchnorm, recurrent):
        keras.utils.set_random_seed(0)
        model, x, y, epochs = make(np.random.default_rng(0))
        model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
        watch = saldiag.Watch()
        model.fit(x, y, epochs=epochs, validation_split=0.25, verbose=0, callbacks=[watch])
        check = watch.diagnosis().measured.need(ValidationCheck)
        share = 100 * check.seconds / check.training_seconds
        sys.stdout.write(
            f"{make.__name__:<12}{check.training_seconds:>10.1f} s{check.seconds:>8.3f} s"
            f"{share:>7.2f} %{check.last_seconds:>11.2f} s  ({len(check.checked)} checks)\n"
        )


if __name__ == "__main__":
    main()
