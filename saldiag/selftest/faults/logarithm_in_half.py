"""Logarithms of what a ReLU gives, with 1e-8 added, under mixed_float16."""

from typing import Any

from saldiag.selftest.program import (
    FORMS,
    Program,
    build_chain,
    compile_model,
    keras,
    layers,
    mask_data,
)

EXPECT = "SD507"


class Logarithm(layers.Layer):
    def __init__(self, least: float) -> None:
        super().__init__(name="logarithm")
        self.least = least

    def call(self, inputs: Any) -> Any:
        return keras.ops.log(inputs + self.least)


def _program(form: str, seed: int, least: float) -> Program:
    keras.config.set_dtype_policy("mixed_float16")
    parts = [
        layers.Conv2D(8, 3, padding="same", activation="relu"),
        Logarithm(least),
        layers.Conv2D(8, 3, padding="same", activation="relu"),
        layers.Conv2D(1, 1, activation="sigmoid", dtype="float32"),
    ]
    model = compile_model(build_chain(form, (16, 16, 3), parts), "binary_crossentropy")
    return Program(model, [mask_data(seed)], 60)


def broken(form: str, seed: int) -> Program:
    return _program(form, seed, 1e-8)


def fixed(form: str, seed: int) -> Program:
    return _program(form, seed, 0.1)


__all__ = ["EXPECT", "FORMS", "broken", "fixed"]
