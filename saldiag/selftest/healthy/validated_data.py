"""Validation data that differs from training data as it may, or comes another way."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from saldiag.selftest.program import Program, build_chain, compile_model, layers
from saldiag.selftest.validation_data import blob_data, colour_data, fit_arguments, split_items

CROSS_ENTROPY = "sparse_categorical_crossentropy"


def _classifier(form: str = "functional", width: int = 8, rate: float = 1e-2) -> Any:
    parts = [layers.Dense(32, activation="relu"), layers.Dense(4, activation="softmax")]
    return compile_model(build_chain(form, (width,), parts), CROSS_ENTROPY, rate=rate)


def few_items(seed: int) -> Program:
    """Eight validation items of overlapping classes: val_loss moves by chance."""
    random = np.random.default_rng(seed)
    x, y = blob_data(seed, 168)
    x = x + random.normal(scale=0.7, size=x.shape).astype("float32")
    return Program(_classifier(), fit=fit_arguments(*split_items((x, y), 160)))


def overfitting(seed: int) -> Program:
    """Forty items, a thousand weights and many epochs: val_loss falls, then rises."""
    random = np.random.default_rng(seed)
    x = random.normal(size=(140, 12)).astype("float32")
    y = (x[:, :1] + x[:, 1:2] + random.normal(scale=0.7, size=(140, 1)) > 0).astype("float32")
    parts = [layers.Dense(64, activation="relu"), layers.Dense(1, activation="sigmoid")]
    model = compile_model(build_chain("sequential", (12,), parts), "binary_crossentropy", rate=2e-2)
    return Program(model, fit=fit_arguments(*split_items((x, y), 60), epochs=20))


def label_noise(seed: int) -> Program:
    """A fifth of all labels is wrong, in both parts."""
    random = np.random.default_rng(seed)
    x, y = blob_data(seed, 320)
    wrong = random.random(len(y)) < 0.2
    y[wrong] = random.integers(0, 4, wrong.sum())
    return Program(
        _classifier("subclassed"), fit=fit_arguments(*split_items((x, y), 240), epochs=6)
    )


def drifting_series(seed: int) -> Program:
    """The next value of a series from the last eight; its later part lies a little higher."""
    random = np.random.default_rng(seed)
    time = np.arange(400)
    series = np.sin(time / 5) + 0.001 * time + random.normal(scale=0.05, size=400)
    windows = np.lib.stride_tricks.sliding_window_view(series, 9).astype("float32")
    x, y = windows[:, :8], windows[:, 8:]
    parts = [layers.Dense(32, activation="relu"), layers.Dense(1)]
    model = compile_model(build_chain("sequential", (8,), parts), "mse", rate=3e-3)
    return Program(model, fit=fit_arguments(*split_items((x, y), 280), epochs=8))


def other_shares_of_classes(seed: int) -> Program:
    """Of the rarest class training has 10 %, validation 30 %."""
    random = np.random.default_rng(seed)
    x, y = blob_data(seed, 400)
    rare = np.flatnonzero(y == 0)
    rest = random.permutation(np.flatnonzero(y != 0))
    train = random.permutation(np.concatenate([rare[:20], rest[:180]]))
    held = np.concatenate([rare[20:50], rest[180:250]])
    return Program(_classifier(), fit=fit_arguments((x[train], y[train]), (x[held], y[held])))


def sample_weights(seed: int) -> Program:
    """Weights of items in training and in validation."""
    random = np.random.default_rng(seed)
    (x, y), (u, v) = split_items(blob_data(seed), 112)
    weights = random.uniform(0.2, 3, size=112).astype("float32")
    held_out = (u, v, random.uniform(0.2, 3, size=len(v)).astype("float32"))
    return Program(_classifier(), fit=fit_arguments((x, y), held_out, sample_weight=weights))


def shuffled_datasets(seed: int) -> Program:
    """Both parts are tf.data pipelines that shuffle, and end with a smaller batch."""
    train, held_out = (
        tf.data.Dataset.from_tensor_slices(part).shuffle(200, seed=seed).batch(9)
        for part in split_items(colour_data(seed), 96)
    )
    parts = [
        layers.Conv2D(8, 3, activation="relu"),
        layers.GlobalAveragePooling2D(),
        layers.Dense(3, activation="softmax"),
    ]
    model = compile_model(build_chain("functional", (12, 12, 3), parts), CROSS_ENTROPY, rate=3e-2)
    return Program(model, fit={"x": train, "validation_data": held_out, "epochs": 8})


class Batches(keras.utils.PyDataset):
    """Batches of ten items; the last one is smaller."""

    def __init__(self, x: Any, y: Any) -> None:
        super().__init__()
        self.x, self.y = x, y

    @property
    def num_batches(self) -> int:
        return -(-len(self.x) // 10)

    def __getitem__(self, index: int) -> Any:
        rows = slice(10 * index, 10 * index + 10)
        return self.x[rows], self.y[rows]


def py_datasets(seed: int) -> Program:
    train, held_out = split_items(blob_data(seed), 112)
    plan = {"x": Batches(*train), "validation_data": Batches(*held_out), "epochs": 8}
    return Program(_classifier("nested"), fit=plan)


def validation_in_larger_batches(seed: int) -> Program:
    """Training in batches of eight, validation in batches of 32, two of them, every other epoch."""
    more: dict[str, Any] = {
        "validation_batch_size": 32,
        "validation_steps": 1,
        "validation_freq": 2,
    }
    return Program(
        _classifier(), fit=fit_arguments(*split_items(blob_data(seed), 112), epochs=8, **more)
    )


def one_hot_labels(seed: int) -> Program:
    """Thirty columns of zeros and ones, and one-hot labels."""
    random = np.random.default_rng(seed)
    kinds = np.arange(192) % 4
    x = (random.random((192, 30)) < 0.05).astype("float32")
    x[np.arange(192), 5 * kinds + random.integers(0, 3, 192)] = 1
    y = np.eye(4, dtype="float32")[kinds]
    parts = [layers.Dense(16, activation="relu"), layers.Dense(4, activation="softmax")]
    model = compile_model(
        build_chain("sequential", (30,), parts), "categorical_crossentropy", rate=2e-2
    )
    return Program(model, fit=fit_arguments(*split_items((x, y), 128), epochs=6))


def named_inputs(seed: int) -> Program:
    """Two inputs by name, one of words and one of numbers."""
    random = np.random.default_rng(seed)
    words = random.integers(1, 20, size=(200, 6))
    numbers = random.normal(size=(200, 3)).astype("float32")
    y = ((words[:, :1] < 10).astype("float32") + numbers[:, :1] > 0.5).astype("float32")
    text, table = keras.Input((6,), name="text", dtype="int32"), keras.Input((3,), name="table")
    flat = layers.Flatten()(layers.Embedding(20, 4)(text))
    hidden = layers.Dense(32, activation="relu")(layers.Concatenate()([flat, table]))
    model = keras.Model({"text": text, "table": table}, layers.Dense(1, "sigmoid")(hidden))
    compile_model(model, "binary_crossentropy", rate=2e-2)
    train, held_out = (
        ({"text": words[part], "table": numbers[part]}, y[part])
        for part in (slice(0, 144), slice(144, None))
    )
    return Program(model, fit=fit_arguments(train, held_out, epochs=8))


def brighter_validation(seed: int) -> Program:
    """Another day: validation pictures are a tenth brighter, and as easy."""
    train, (x, y) = split_items(colour_data(seed), 96)
    parts = [
        layers.Conv2D(8, 3, activation="relu"),
        layers.GlobalAveragePooling2D(),
        layers.Dense(3, activation="softmax"),
    ]
    model = compile_model(build_chain("subclassed", (12, 12, 3), parts), CROSS_ENTROPY, rate=3e-2)
    return Program(model, fit=fit_arguments(train, (x * 1.1, y), epochs=8))


PROGRAMS = (
    few_items, overfitting, label_noise, drifting_series, other_shares_of_classes, sample_weights,
    shuffled_datasets, py_datasets, validation_in_larger_batches, one_hot_labels, named_inputs,
    brighter_validation,
)  # fmt: skip
