"""Schedules, callbacks and losses of one's own that look odd and are meant."""

from typing import Any

import keras
import tensorflow as tf

from saldiag.recipes.cyclic_lr import TriangularCyclicalLearningRate
from saldiag.selftest.program import (
    Chain,
    FitPlan,
    Program,
    binary_data,
    build_chain,
    class_data,
    compile_model,
    layers,
    np,
    regression_data,
)


def _classifier(seed: int, rate: Any, plan: FitPlan, **options: Any) -> Program:
    parts = [layers.Dense(32, activation="relu"), layers.Dense(3, activation="softmax")]
    optimizer = keras.optimizers.Adam(rate)
    model = build_chain("functional", (8,), parts)
    compile_model(model, "sparse_categorical_crossentropy", optimizer=optimizer, **options)
    return Program(model, [class_data(seed)], plan=plan)


def cycle_and_patience(seed: int) -> Program:
    """A patience shorter than the cycle of the rate, which is worth a note and no more."""
    stopping = keras.callbacks.EarlyStopping(patience=10, restore_best_weights=True)
    plan = FitPlan(epochs=50, steps_per_epoch=25, callbacks=(stopping,))
    return _classifier(seed, TriangularCyclicalLearningRate(1e-3, 1e-2, 200), plan)


def drops_by_ten(seed: int) -> Program:
    schedule = keras.optimizers.schedules.PiecewiseConstantDecay(
        [300, 600, 800], [1e-2, 1e-3, 1e-4, 1e-5]
    )
    return _classifier(seed, schedule, FitPlan(epochs=90, steps_per_epoch=10))


def cosine_to_nothing(seed: int) -> Program:
    schedule = keras.optimizers.schedules.CosineDecay(1e-2, decay_steps=1000)
    return _classifier(seed, schedule, FitPlan(epochs=100, steps_per_epoch=10))


def range_test(seed: int) -> Program:
    """A rate that rises from step to step, to look for the best one."""
    schedule = keras.optimizers.schedules.ExponentialDecay(1e-3, 100, 10.0)
    return _classifier(seed, schedule, FitPlan(epochs=2, steps_per_epoch=100))


class Score(keras.callbacks.Callback):
    """Reports a quantity of its own."""

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:  # noqa: ARG002
        if logs is not None:
            logs["val_f1"] = 0.0


def monitor_of_ones_own(seed: int) -> Program:
    stopping = keras.callbacks.EarlyStopping("val_f1", mode="max", patience=5)
    plan = FitPlan(epochs=20, steps_per_epoch=10, callbacks=(Score(), stopping))
    return _classifier(seed, 1e-2, plan, metrics=["accuracy"])


def monitors_that_fit(seed: int) -> Program:
    callbacks = (
        keras.callbacks.ReduceLROnPlateau(patience=3),
        keras.callbacks.EarlyStopping("val_accuracy", patience=8),
        keras.callbacks.ModelCheckpoint("best.keras", "val_accuracy", save_best_only=True),
        keras.callbacks.LearningRateScheduler(lambda epoch, rate: rate * (1 if epoch < 5 else 0.9)),
    )
    plan = FitPlan(epochs=20, steps_per_epoch=10, callbacks=callbacks)
    return _classifier(seed, 1e-2, plan, metrics=["accuracy"])


def triplets(seed: int) -> Program:
    """A loss that has no use for targets: what belongs together stands in one row."""
    random = np.random.default_rng(seed)
    x = random.normal(size=(32, 3, 8)).astype("float32")
    x[:, 1] = x[:, 0] + 0.1 * x[:, 1]

    def loss(_: Any, y_pred: Any) -> Any:
        anchor, near, far = y_pred[:, 0], y_pred[:, 1], y_pred[:, 2]
        apart = keras.ops.sum((anchor - near) ** 2, -1) - keras.ops.sum((anchor - far) ** 2, -1)
        return keras.ops.relu(apart + 1.0)

    parts = [layers.Dense(32, activation="relu"), layers.Dense(16)]
    return Program(
        compile_model(build_chain("sequential", (3, 8), parts), loss), [(x, np.zeros(32))]
    )


def critic(seed: int) -> Program:
    """The critic's loss of a Wasserstein GAN, linear and without a lower bound."""
    x, y = binary_data(seed)

    def loss(y_true: Any, y_pred: Any) -> Any:
        return keras.ops.mean(y_true * y_pred)

    clip = keras.constraints.MaxNorm(1.0)
    parts = [
        layers.Dense(32, activation="relu", kernel_constraint=clip),
        layers.Dense(1, kernel_constraint=clip),
    ]
    model = compile_model(build_chain("functional", (8,), parts), loss)
    return Program(model, [(x, 2 * y - 1)])


def similarity(seed: int) -> Program:
    """A loss that is -1 at its best."""
    x, _ = binary_data(seed)
    y = np.tanh(x[:, :4] - x[:, 4:])
    parts = [layers.Dense(64, activation="relu"), layers.Dense(4)]
    return Program(compile_model(build_chain("nested", (8,), parts), "cosine_similarity"), [(x, y)])


def likelihood(seed: int) -> Program:
    """Minus the logarithm of a density, which can be above 1."""
    x, y = regression_data(seed)

    def loss(y_true: Any, y_pred: Any) -> Any:
        return 0.5 * ((y_true - y_pred) / 0.05) ** 2 + float(np.log(0.05 * np.sqrt(2 * np.pi)))

    parts = [layers.Dense(64, activation="relu"), layers.Dense(1)]
    return Program(compile_model(build_chain("sequential", (6,), parts), loss), [(x, y)])


class Clipped(Chain):
    """Takes its steps itself, by what is left of the gradients after clipping."""

    def train_step(self, data: Any) -> Any:
        x, y = data
        with tf.GradientTape() as tape:
            loss = self.compute_loss(x=x, y=y, y_pred=self(x, training=True))
        gradients, _ = tf.clip_by_global_norm(tape.gradient(loss, self.trainable_variables), 1.0)
        self.optimizer.apply(gradients, self.trainable_variables)
        return {"loss": loss}


def own_clipping(seed: int) -> Program:
    parts = [layers.Dense(32, activation="relu"), layers.Dense(1)]
    return Program(compile_model(Clipped(parts), "mse"), [regression_data(seed)])


def weighted_outputs(seed: int) -> Program:
    inputs = keras.Input((6,))
    x = layers.Dense(64, activation="relu")(inputs)
    outputs = [layers.Dense(1, name="one")(x), layers.Dense(1, name="two")(x)]
    model = compile_model(keras.Model(inputs, outputs), ["mse", "mse"], loss_weights=[100.0, 0.1])
    x, y = regression_data(seed)
    return Program(model, [(x, (y, -y))])


PROGRAMS = (
    cycle_and_patience, drops_by_ten, cosine_to_nothing, range_test, monitor_of_ones_own,
    monitors_that_fit, triplets, critic, similarity, likelihood, own_clipping, weighted_outputs,
)  # fmt: skip
