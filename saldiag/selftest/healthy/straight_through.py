"""Programs with operations that have no gradient, beside the way that the gradient takes."""

from __future__ import annotations

from typing import Any

from saldiag.selftest.program import (
    Program,
    binary_data,
    compile_model,
    keras,
    layers,
    mask_data,
    regression_data,
)


class Quantizer(layers.Layer):
    """A codebook, trained by its own term, as in VQ-VAE."""

    def __init__(self, codes: int) -> None:
        super().__init__(name="quantizer")
        self.codes = codes

    def build(self, shape: Any) -> None:
        self.book = self.add_weight(
            shape=(self.codes, shape[-1]), initializer="uniform", name="book"
        )

    def call(self, inputs: Any) -> Any:
        ops = keras.ops
        flat = ops.reshape(inputs, (-1, self.book.shape[1]))
        distances = ops.sum((flat[:, None] - self.book[None]) ** 2, axis=-1)
        chosen = ops.take(self.book, ops.argmin(distances, axis=-1), axis=0)
        chosen = ops.reshape(chosen, ops.shape(inputs))
        self.add_loss(ops.mean((ops.stop_gradient(inputs) - chosen) ** 2))
        self.add_loss(0.25 * ops.mean((inputs - ops.stop_gradient(chosen)) ** 2))
        return inputs + ops.stop_gradient(chosen - inputs)


def codebook_autoencoder(seed: int) -> Program:
    x, _ = mask_data(seed)
    parts = [
        layers.Conv2D(16, 3, strides=2, padding="same", activation="relu"),
        layers.Conv2D(8, 1),
        Quantizer(32),
        layers.Conv2DTranspose(16, 3, strides=2, padding="same", activation="relu"),
        layers.Conv2D(3, 3, padding="same", activation="tanh"),
    ]
    model = keras.Sequential([keras.Input((16, 16, 3)), *parts])
    return Program(compile_model(model, "mse"), [(x, x)], 100)


def hard_gates(seed: int) -> Program:
    """Large activations pass, the others are halved; the mask is a comparison."""
    inputs = keras.Input((6,))
    x = layers.Dense(32)(inputs)
    x = x * (0.5 + 0.5 * keras.ops.cast(x > 0.0, "float32"))
    outputs = layers.Dense(1)(layers.Dense(32, activation="tanh")(x))
    return Program(compile_model(keras.Model(inputs, outputs), "mse"), [regression_data(seed)])


def binary_weights(seed: int) -> Program:
    """Rounded units with the gradient handed round the rounding."""
    inputs = keras.Input((8,))
    x = layers.Dense(64, activation="sigmoid")(inputs)
    x = x + keras.ops.stop_gradient(keras.ops.round(x) - x)
    outputs = layers.Dense(1, activation="sigmoid")(layers.Dense(32, activation="tanh")(x))
    model = compile_model(keras.Model(inputs, outputs), "binary_crossentropy")
    return Program(model, [binary_data(seed)])


PROGRAMS = (codebook_autoencoder, hard_gates, binary_weights)
