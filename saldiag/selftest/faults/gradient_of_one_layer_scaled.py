"""A training step of one's own that multiplies the gradient of one layer's kernel by 100,000."""

from typing import Any

from saldiag.selftest.loops import FORMS, Change, custom_step_model
from saldiag.selftest.program import Program, compile_model, keras, layers, size_data

EXPECT = "SD205"


def _program(form: str, seed: int, change: Change | None = None) -> Program:
    parts = [
        layers.Conv2D(16, 3, activation="relu"),
        layers.Conv2D(32, 3, strides=2, activation="relu"),
        layers.Flatten(),
        layers.Dense(16, activation="relu"),
        layers.Dense(3, activation="softmax"),
    ]
    model = custom_step_model(form, keras.Input((16, 16, 3)), parts, change)
    optimizer = keras.optimizers.SGD(0.01, momentum=0.9)
    compile_model(model, "sparse_categorical_crossentropy", optimizer=optimizer)
    return Program(model, [size_data(seed)], 200)


def _scaled(gradients: list[Any]) -> list[Any]:
    return [*gradients[:2], 1e5 * gradients[2], *gradients[3:]]


def broken(form: str, seed: int) -> Program:
    return _program(form, seed, _scaled)


def fixed(form: str, seed: int) -> Program:
    return _program(form, seed)


__all__ = ["EXPECT", "FORMS", "broken", "fixed"]
