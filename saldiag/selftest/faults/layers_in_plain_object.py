"""Convolutions kept in an object that is no layer, and called by a layer."""

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

EXPECT = "SD408"


class Parts:
    """Holds two convolutions, for one block."""

    def __init__(self) -> None:
        self.first = layers.Conv2D(8, 3, padding="same", activation="relu", name="first")
        self.second = layers.Conv2D(8, 3, padding="same", activation="relu", name="second")


class Block(layers.Layer):
    def __init__(self, *, track: bool) -> None:
        super().__init__(name="block")
        self.parts = Parts()
        self.listed = [self.parts.first, self.parts.second] if track else []

    def call(self, inputs: Any) -> Any:
        return self.parts.second(self.parts.first(inputs))


def _program(form: str, seed: int, *, track: bool) -> Program:
    parts = [Block(track=track), layers.Conv2D(1, 1, activation="sigmoid")]
    model = build_chain(form, (16, 16, 3), parts)
    model(keras.ops.zeros((1, 16, 16, 3)))
    return Program(compile_model(model, "binary_crossentropy"), [mask_data(seed)], 60)


def broken(form: str, seed: int) -> Program:
    return _program(form, seed, track=False)


def fixed(form: str, seed: int) -> Program:
    return _program(form, seed, track=True)


__all__ = ["EXPECT", "FORMS", "broken", "fixed"]
