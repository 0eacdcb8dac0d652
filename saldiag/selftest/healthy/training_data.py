"""Data that is unusual and well: sparse, unbalanced, scaled targets; loops of one's own."""

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from saldiag.selftest.program import (
    Chain,
    FitPlan,
    Program,
    binary_data,
    build_chain,
    class_data,
    compile_model,
    layers,
    regression_data,
)


def unbalanced(seed: int) -> Program:
    x, _ = binary_data(seed, 40)
    y = (x[:, :1] > np.quantile(x[:, 0], 0.7)).astype("float32")
    parts = [layers.Dense(32, activation="relu"), layers.Dense(1, activation="sigmoid")]
    return Program(
        compile_model(build_chain("functional", (8,), parts), "binary_crossentropy"), [(x, y)]
    )


def standardised_targets(seed: int) -> Program:
    x, y = regression_data(seed)
    parts = [layers.Dense(64, activation="relu"), layers.Dense(1)]
    model = compile_model(build_chain("sequential", (6,), parts), "mse")
    return Program(model, [(x, (y - y.mean()) / y.std())])


def one_hot(seed: int) -> Program:
    """Six of twelve columns are never set."""
    random = np.random.default_rng(seed)
    code = random.integers(0, 6, size=(32, 2))
    x = np.concatenate([np.eye(12)[code[:, 0]], np.eye(12)[code[:, 1]]], axis=1)
    y = (code[:, :1] > code[:, 1:]).astype("float32")
    parts = [layers.Dense(32, activation="relu"), layers.Dense(1, activation="sigmoid")]
    model = compile_model(build_chain("sequential", (24,), parts), "binary_crossentropy")
    return Program(model, [(x.astype("float32"), y)])


def bag_of_words(seed: int) -> Program:
    random = np.random.default_rng(seed)
    x = random.poisson(0.05, size=(40, 200)).astype("float32")
    x[np.arange(40), np.arange(40) % 3] += 2
    y = np.arange(40) % 3
    parts = [layers.Dense(16, activation="relu"), layers.Dense(3, activation="softmax")]
    model = compile_model(build_chain("nested", (200,), parts), "sparse_categorical_crossentropy")
    return Program(model, [(x, y)])


def masked_input(seed: int) -> Program:
    """A second input that is all ones, as an attention mask without padding is."""
    x, y = regression_data(seed)
    inputs, mask = keras.Input((6,), name="x"), keras.Input((6,), name="mask")
    hidden = layers.Dense(64, activation="relu")(layers.Multiply()([inputs, mask]))
    model = keras.Model([inputs, mask], layers.Dense(1)(hidden))
    return Program(compile_model(model, "mse"), [((x, np.ones_like(x)), y)])


class Tape(Chain):
    """A subclassed model with a training step of its own."""

    def train_step(self, data: Any) -> Any:
        x, y = data
        with tf.GradientTape() as tape:
            predicted = self(x, training=True)
            loss = self.compute_loss(x=x, y=y, y_pred=predicted)
        gradients = tape.gradient(loss, self.trainable_variables)
        self.optimizer.apply(gradients, self.trainable_variables)
        return {"loss": loss}


def own_step(seed: int) -> Program:
    parts = [layers.Dense(32, activation="relu"), layers.Dense(1, activation="sigmoid")]
    return Program(compile_model(Tape(parts), "binary_crossentropy"), [binary_data(seed)])


def distillation_targets(seed: int) -> Program:
    """Soft labels near one half."""
    x, y = binary_data(seed)
    soft = (0.5 + 0.4 * (2 * y - 1)).astype("float32")
    parts = [layers.Dense(32, activation="relu"), layers.Dense(1, activation="sigmoid")]
    return Program(compile_model(build_chain("functional", (8,), parts), "mse"), [(x, soft)])


def logits(seed: int) -> Program:
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    parts = [layers.Dense(32, activation="relu"), layers.Dense(3)]
    return Program(compile_model(build_chain("sequential", (8,), parts), loss), [class_data(seed)])


def combined_gan(seed: int) -> Program:
    """A generator behind which a frozen discriminator is to say "genuine", always."""
    random = np.random.default_rng(seed)
    genuine = random.normal(1.0, 0.5, size=(64, 4)).astype("float32")
    judge_parts = [layers.Dense(16, activation="relu"), layers.Dense(1, activation="sigmoid")]
    judge = compile_model(
        build_chain("sequential", (4,), judge_parts, "judge"), "binary_crossentropy"
    )
    fakes = random.normal(-1.0, 0.5, size=(64, 4)).astype("float32")
    labels = np.repeat([[1.0], [0.0]], 64, axis=0)
    judge.fit(np.concatenate([genuine, fakes]), labels, epochs=30, verbose=0)
    judge.trainable = False
    maker_parts = [layers.Dense(16, activation="relu"), layers.Dense(4)]
    inputs = keras.Input((6,))
    outputs = judge(build_chain("sequential", (6,), maker_parts, "maker")(inputs))
    model = compile_model(keras.Model(inputs, outputs), "binary_crossentropy", rate=1e-3)
    noise = random.normal(size=(32, 6)).astype("float32")
    return Program(model, [(noise, np.ones((32, 1), "float32"))])


class Balanced(keras.utils.PyDataset):
    """Batches of eight items of each class, one class after the other."""

    def __init__(self, x: Any, y: Any, kinds: int) -> None:
        super().__init__()
        self.x, self.y = x, y
        self.places = [np.flatnonzero(y == kind) for kind in range(kinds)]

    @property
    def num_batches(self) -> int:
        return min(len(places) for places in self.places) // 8

    def __getitem__(self, index: int) -> Any:
        rows = np.concatenate([places[8 * index : 8 * index + 8] for places in self.places])
        return self.x[rows], self.y[rows]


def balanced_batches(seed: int) -> Program:
    x, y = class_data(seed, 480)
    parts = [layers.Dense(32, activation="relu"), layers.Dense(3, activation="softmax")]
    model = compile_model(build_chain("functional", (8,), parts), "sparse_categorical_crossentropy")
    return Program(model, [(x[:48], y[:48])], plan=FitPlan(data=Balanced(x, y, 3), epochs=5))


def policy_gradient(seed: int) -> Program:
    """REINFORCE: the targets are the actions taken, times what each was worth beside the others."""
    random = np.random.default_rng(seed)
    states, actions = random.normal(size=(48, 8)), random.integers(0, 3, 48)
    returns = np.where((states[:, 0] > 0) == (actions == 0), 1.0, 0.0) + random.normal(size=48)
    advantages = (returns - returns.mean()) / returns.std()
    targets = advantages[:, None] * np.eye(3)[actions]
    parts = [layers.Dense(32, activation="relu"), layers.Dense(3, activation="softmax")]
    model = compile_model(build_chain("functional", (8,), parts), "categorical_crossentropy")
    return Program(model, [(states.astype("float32"), targets.astype("float32"))])


PROGRAMS = (
    unbalanced, standardised_targets, one_hot, bag_of_words, masked_input, own_step,
    distillation_targets, logits, combined_gan, balanced_batches, policy_gradient,
)  # fmt: skip
