"""Training pictures are RGB, validation pictures BGR, as OpenCV reads them."""

from typing import Any

from saldiag.selftest.program import Program, chain, compiled, layers
from saldiag.selftest.validation_data import coloured, halves, training

EXPECT = "SD614"
FORMS = ("functional", "subclassed", "nested")


def _program(form: str, seed: int, order: Any) -> Program:
    train, (x, y) = halves(coloured(seed), 96)
    parts = [
        layers.Conv2D(8, 3, activation="relu"),
        layers.GlobalAveragePooling2D(),
        layers.Dense(3, activation="softmax"),
    ]
    model = chain(form, (12, 12, 3), parts)
    compiled(model, "sparse_categorical_crossentropy", rate=3e-2)
    return Program(model, fit=training(train, (x[..., order], y)))


def broken(form: str, seed: int) -> Program:
    return _program(form, seed, [2, 1, 0])


def fixed(form: str, seed: int) -> Program:
    return _program(form, seed, [0, 1, 2])


__all__ = ["EXPECT", "FORMS", "broken", "fixed"]
