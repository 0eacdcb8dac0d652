"""Training pictures are RGB, validation pictures BGR, as OpenCV reads them."""

from typing import Any

from saldiag.selftest.program import Program, build_chain, compile_model, layers
from saldiag.selftest.validation_data import colour_data, fit_arguments, split_items

EXPECT = "SD614"
FORMS = ("functional", "subclassed", "nested")


def _program(form: str, seed: int, order: Any) -> Program:
    train, (x, y) = split_items(colour_data(seed), 96)
    parts = [
        layers.Conv2D(8, 3, activation="relu"),
        layers.GlobalAveragePooling2D(),
        layers.Dense(3, activation="softmax"),
    ]
    model = build_chain(form, (12, 12, 3), parts)
    compile_model(model, "sparse_categorical_crossentropy", rate=3e-2)
    return Program(model, fit=fit_arguments(train, (x[..., order], y)))


def broken(form: str, seed: int) -> Program:
    return _program(form, seed, [2, 1, 0])


def fixed(form: str, seed: int) -> Program:
    return _program(form, seed, [0, 1, 2])


__all__ = ["EXPECT", "FORMS", "broken", "fixed"]
