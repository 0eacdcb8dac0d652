"""A tiny model, its data and its training run, for the tests of the training loop."""

import io
import itertools
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
from rich.console import Console

from saldiag.core.files.run import Run
from saldiag.core.measurement import GradientHistory

SIZE = 32
WORKER = Path(__file__).with_name("train_worker.py")


def tiny_model(bias=0.0):
    import keras
    from keras import layers

    return keras.Sequential(
        [
            keras.Input((SIZE, SIZE, 3)),
            layers.Conv2D(4, 3, padding="same", activation="relu", name="first"),
            layers.BatchNormalization(name="norm"),
            layers.Dropout(0.2, name="drop"),
            layers.Conv2D(
                1,
                3,
                padding="same",
                name="last",
                bias_initializer=keras.initializers.Constant(bias),
            ),
            layers.Activation("sigmoid", dtype="float32", name="head"),
        ],
        name="tiny",
    )


def pictures(count=12, seed=0):
    """Pictures whose bright squares are the mask: arrays (N, S, S, 3) and (N, S, S, 1)."""
    random = np.random.default_rng(seed)
    images = random.normal(size=(count, SIZE, SIZE, 3)).astype(np.float32)
    masks = np.zeros((count, SIZE, SIZE, 1), np.float32)
    for index in range(count):
        row, column = random.integers(0, SIZE - 10, 2)
        masks[index, row : row + 10, column : column + 10] = 1
    return images + 2 * masks, masks


def epochs_of(images, masks, batch_size, on_epoch=lambda epoch: None):
    """Batches without end from an epoch on, its order a function of its number.

    ``on_epoch`` is called when an epoch's first batch is made.
    """
    import tensorflow as tf

    def batches(first_epoch):
        def generate():
            for epoch in itertools.count(first_epoch):
                on_epoch(epoch)
                order = np.random.default_rng(epoch).permutation(len(images))
                for start in range(0, len(order), batch_size):
                    chosen = order[start : start + batch_size]
                    yield images[chosen], masks[chosen]

        return tf.data.Dataset.from_generator(
            generate,
            output_signature=(
                tf.TensorSpec((None, SIZE, SIZE, 3), tf.float32),
                tf.TensorSpec((None, SIZE, SIZE, 1), tf.float32),
            ),
        )

    return batches


def small_data(batch_size=4, on_epoch=lambda epoch: None):
    import tensorflow as tf

    from saldiag.recipes.training import TrainingData

    validation = tf.data.Dataset.from_tensor_slices(pictures(8, seed=1)).batch(4)
    return TrainingData(epochs_of(*pictures(), batch_size, on_epoch), 12 // batch_size, validation)


def small_recipe(**changes):
    from saldiag.recipes.saliency_training import Recipe

    numbers = {
        "epochs": 3, "batch_size": 4, "image_size": SIZE, "step_size": 4, "max_learning_rate": 0.02,
        "base_learning_rate": 0.01, "precision": "float32",
    }  # fmt: skip
    return Recipe(**{**numbers, **changes})


def train(out, recipe=None, factory=tiny_model, data=None, **options):
    """One training run on the tiny data, without a screen unless ``console`` is given."""
    from saldiag.experiments.training.loop import run_training

    recipe = recipe or small_recipe()
    run = Run.create("train", out, resume=options.get("resume", False))
    options.setdefault("console", Console(file=io.StringIO()))
    return run_training(factory, data or small_data(recipe.batch_size), recipe, run, **options)


def values(history, name):
    return history.values[history.names.index(name)]


def gradients_at(steps, value, dropped=0):
    """A gradient history of one variable; without a step the variable is not known yet."""
    from saldiag.core.measurement import VariableInfo

    steps = np.array(steps, np.int64)
    variables = (VariableInfo("a/kernel", "a", (2,), "float32"),) if steps.size else ()
    rows = np.full((len(steps), len(variables)), value)
    return GradientHistory(
        variables, steps, *[rows] * 7, *[np.full(len(steps), value)] * 2, dropped_steps=dropped
    )


def worker(out, *arguments, limit=None):
    """A run in a process of its own with deterministic operations; see train_worker.py."""

    def restrict():
        if limit:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    return subprocess.run(
        [sys.executable, str(WORKER), str(out), *arguments],
        capture_output=True, text=True, check=False, preexec_fn=restrict,
    )  # fmt: skip
