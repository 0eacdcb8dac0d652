"""The length of an empty sample's features, under mixed_float16: its gradient is NaN."""

from typing import Any

from saldiag.selftest.program import (
    FORMS,
    Program,
    binary_data,
    build_chain,
    compile_model,
    keras,
    layers,
)

EXPECT = "SD505"


class Length(layers.Layer):
    """Appends the Euclidean length of each vector."""

    def __init__(self, least: float) -> None:
        super().__init__(name="length")
        self.least = least

    def call(self, inputs: Any) -> Any:
        ops = keras.ops
        square = ops.sum(inputs * inputs, axis=-1, keepdims=True)
        square = square + self.least if self.least else square
        return ops.concatenate([inputs, ops.sqrt(square)], axis=-1)


def _program(form: str, seed: int, least: float) -> Program:
    keras.config.set_dtype_policy("mixed_float16")
    parts = [
        layers.Dense(32, activation="tanh", use_bias=False),
        Length(least),
        layers.Dense(32, activation="tanh"),
        layers.Dense(1, activation="sigmoid", dtype="float32"),
    ]
    x, y = binary_data(seed, 48)
    x[40] = 0.0
    batches = [(x[i : i + 16], y[i : i + 16]) for i in (0, 16, 32)]
    return Program(
        compile_model(build_chain(form, (8,), parts), "binary_crossentropy"), batches, 150
    )


def broken(form: str, seed: int) -> Program:
    return _program(form, seed, 0.0)


def fixed(form: str, seed: int) -> Program:
    return _program(form, seed, 1e-3)


__all__ = ["EXPECT", "FORMS", "broken", "fixed"]
