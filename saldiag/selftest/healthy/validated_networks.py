"""Models whose ``val_loss`` differs from the loss for a good reason, or on purpose."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from saldiag.selftest.always_training import AlwaysTraining
from saldiag.selftest.program import Chain, Program, build_chain, compile_model, layers, np
from saldiag.selftest.validation_data import (
    blob_data,
    colour_data,
    fit_arguments,
    price_data,
    split_items,
    square_mask_data,
)

CROSS_ENTROPY = "sparse_categorical_crossentropy"


def _pictures(seed: int, **more: Any) -> dict[str, Any]:
    return fit_arguments(*split_items(colour_data(seed), 96), **more)


def batchnorm_momentum_09(seed: int) -> Program:
    parts = [
        layers.Conv2D(8, 3, use_bias=False),
        layers.BatchNormalization(momentum=0.9),
        layers.ReLU(),
        layers.GlobalAveragePooling2D(),
        layers.Dense(3, activation="softmax"),
    ]
    model = compile_model(build_chain("functional", (12, 12, 3), parts), CROSS_ENTROPY)
    return Program(model, fit=_pictures(seed))


def batchnorm_many_steps(seed: int) -> Program:
    """Momentum 0.99, as Keras has it, and 720 steps."""
    parts = [
        layers.Dense(16, use_bias=False),
        layers.BatchNormalization(),
        layers.ReLU(),
        layers.Dense(4, activation="softmax"),
    ]
    model = compile_model(build_chain("sequential", (8,), parts), CROSS_ENTROPY, rate=2e-3)
    return Program(model, fit=fit_arguments(*split_items(blob_data(seed, 320), 240), epochs=24))


def frozen_batchnorm(seed: int) -> Program:
    """Fine-tuning: an encoder that was trained before, whose BatchNorm runs in inference mode."""
    inputs = keras.Input((12, 12, 3))
    hidden = layers.Conv2D(8, 3, use_bias=False)(inputs)
    hidden = layers.ReLU()(layers.BatchNormalization(momentum=0.8)(hidden))
    encoder = keras.Model(inputs, layers.GlobalAveragePooling2D()(hidden), name="encoder")
    head = layers.Dense(3, activation="softmax")
    before = compile_model(keras.Sequential([encoder, head]), CROSS_ENTROPY)
    x, y = colour_data(seed + 100, 96)
    before.fit(x, y, epochs=3, batch_size=8, verbose=0)
    encoder.trainable = False
    outputs = layers.Dense(3, activation="softmax")(encoder(inputs, training=False))
    model = compile_model(keras.Model(inputs, outputs), CROSS_ENTROPY, rate=5e-2)
    return Program(model, fit=_pictures(seed))


def augmentation(seed: int) -> Program:
    """Layers that turn and move training pictures, which makes the loss higher than val_loss."""
    parts = [
        layers.RandomFlip(),
        layers.RandomTranslation(0.3, 0.3),
        layers.Conv2D(8, 3, activation="relu"),
        layers.GlobalMaxPooling2D(),
        layers.Dense(3, activation="softmax"),
    ]
    model = compile_model(build_chain("sequential", (12, 12, 3), parts), CROSS_ENTROPY, rate=2e-2)
    return Program(model, fit=_pictures(seed))


def dropout(seed: int) -> Program:
    """Half of the features are dropped: the loss stays above val_loss."""
    parts = [
        layers.Dense(64, activation="relu"),
        layers.Dropout(0.5),
        layers.Dense(4, activation="softmax"),
    ]
    model = compile_model(build_chain("subclassed", (8,), parts), CROSS_ENTROPY)
    return Program(model, fit=fit_arguments(*split_items(blob_data(seed), 112)))


def monte_carlo_dropout(seed: int) -> Program:
    """Dropout in inference on purpose, for a distribution of predictions."""
    parts = [
        layers.Dense(64, activation="relu"),
        AlwaysTraining(layers.Dropout(0.2), True),
        layers.Dense(4, activation="softmax"),
    ]
    model = compile_model(build_chain("functional", (8,), parts), CROSS_ENTROPY)
    return Program(model, fit=fit_arguments(*split_items(blob_data(seed), 112)))


def penalised_weights(seed: int) -> Program:
    """An L2 penalty, which is part of both losses and falls slowly."""
    parts = [
        layers.Dense(32, activation="relu", kernel_regularizer=keras.regularizers.L2(1e-2)),
        layers.Dense(4, activation="softmax", kernel_regularizer=keras.regularizers.L2(1e-2)),
    ]
    model = compile_model(build_chain("functional", (8,), parts), CROSS_ENTROPY)
    return Program(model, fit=fit_arguments(*split_items(blob_data(seed), 112)))


class OwnStep(Chain):
    """A subclassed model with a training step and a test step of its own."""

    def train_step(self, data: Any) -> Any:
        x, y = data
        with tf.GradientTape() as tape:
            loss = self.compute_loss(x=x, y=y, y_pred=self(x, training=True))
        gradients = tape.gradient(loss, self.trainable_variables)
        self.optimizer.apply(gradients, self.trainable_variables)
        return {"loss": loss}

    def test_step(self, data: Any) -> Any:
        x, y = data
        return {"loss": self.compute_loss(x=x, y=y, y_pred=self(x, training=False))}


def own_step(seed: int) -> Program:
    parts = [layers.Dense(32, activation="relu"), layers.Dense(4, activation="softmax")]
    model = compile_model(OwnStep(parts), CROSS_ENTROPY)
    return Program(model, fit=fit_arguments(*split_items(blob_data(seed), 112)))


def two_losses(seed: int) -> Program:
    """A class and a price from the same features, named outputs, both validated."""
    random = np.random.default_rng(seed)
    x, y = blob_data(seed)
    price = x[:, :1] - x[:, 1:2] + random.normal(scale=0.1, size=(len(x), 1))
    inputs = keras.Input((8,))
    hidden = layers.Dense(32, activation="relu")(inputs)
    outputs = {
        "kind": layers.Dense(4, activation="softmax", name="kind")(hidden),
        "price": layers.Dense(1, name="price")(hidden),
    }
    losses = {"kind": CROSS_ENTROPY, "price": "mse"}
    model = compile_model(
        keras.Model(inputs, outputs), losses, loss_weights={"kind": 1, "price": 0.5}
    )
    train = x[:112], {"kind": y[:112], "price": price[:112]}
    return Program(
        model, fit=fit_arguments(train, (x[112:], {"kind": y[112:], "price": price[112:]}))
    )


def autoencoder(seed: int) -> Program:
    """Pictures of low rank, from eight numbers each, rebuilt from sixteen."""
    random = np.random.default_rng(seed)
    basis = random.normal(size=(8, 64))
    x = keras.ops.convert_to_numpy(keras.ops.sigmoid(random.normal(size=(192, 8)) @ basis / 2))
    x = x.astype("float32")
    parts = [layers.Dense(16, activation="relu"), layers.Dense(64, activation="sigmoid")]
    model = compile_model(build_chain("nested", (64,), parts), "mse")
    return Program(model, fit=fit_arguments((x[:128], x[:128]), (x[128:], x[128:])))


def denoiser(seed: int) -> Program:
    """Noise on training pictures alone: validation inputs have a smaller spread."""
    random = np.random.default_rng(seed)
    (x, masks), held_out = split_items(square_mask_data(seed), 64)
    noisy = (x + random.normal(scale=0.3, size=x.shape)).astype("float32")
    parts = [
        layers.Conv2D(8, 3, padding="same", activation="relu"),
        layers.Conv2D(8, 3, padding="same", activation="relu"),
        layers.Conv2D(1, 1, activation="sigmoid"),
    ]
    model = compile_model(
        build_chain("functional", (16, 16, 3), parts), "binary_crossentropy", rate=2e-2
    )
    return Program(model, fit=fit_arguments((noisy, masks), held_out, epochs=6))


def _distances(y: Any, embedded: Any) -> Any:
    """Pulls items of one class together and pushes others apart (Hadsell et al., 2006)."""
    same = tf.cast(y[:, None] == y[None], embedded.dtype)
    square = keras.ops.sum((embedded[:, None] - embedded[None]) ** 2, axis=-1)
    apart = keras.ops.maximum(0.0, 1.0 - keras.ops.sqrt(square + 1e-6)) ** 2
    return keras.ops.mean(same * square + (1 - same) * apart, axis=-1)


def metric_learning(seed: int) -> Program:
    """An embedding that is validated on classes it was not trained on, as it should be."""
    x, y = blob_data(seed, 240, 12, 6)
    known = y < 4
    parts = [layers.Dense(32, activation="relu"), layers.Dense(4)]
    model = compile_model(build_chain("functional", (12,), parts), _distances)
    return Program(model, fit=fit_arguments((x[known], y[known]), (x[~known], y[~known])))


def near_the_noise_floor(seed: int) -> Program:
    """A line that is found at once; what is left of both losses is noise."""
    x, y = price_data(seed, 480)
    random = np.random.default_rng(seed)
    y = (y - 300) / 60 + random.normal(scale=0.5, size=y.shape)
    model = compile_model(build_chain("sequential", (6,), [layers.Dense(1)]), "mse", rate=2e-2)
    return Program(model, fit=fit_arguments(*split_items((x, y.astype("float32")), 320), epochs=8))


PROGRAMS = (
    batchnorm_momentum_09, batchnorm_many_steps, frozen_batchnorm, augmentation, dropout,
    monte_carlo_dropout, penalised_weights, own_step, two_losses, autoencoder, denoiser,
    metric_learning, near_the_noise_floor,
)  # fmt: skip
