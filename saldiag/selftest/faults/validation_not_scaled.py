"""Training pictures are scaled to 0 … 1, validation pictures are left in 0 … 255, or vice versa."""

from saldiag.selftest.program import FORMS, Program, build_chain, compile_model, layers
from saldiag.selftest.validation_data import colour_data, fit_arguments, split_items

EXPECT = "SD614"


def _program(form: str, seed: int, factor: float) -> Program:
    train, (x, y) = split_items(colour_data(seed), 96)
    parts = [
        layers.Conv2D(8, 3, activation="relu"),
        layers.GlobalAveragePooling2D(),
        layers.Dense(3, activation="softmax"),
    ]
    model = build_chain(form, (12, 12, 3), parts)
    compile_model(model, "sparse_categorical_crossentropy", rate=3e-2)
    return Program(model, fit=fit_arguments(train, (factor * x, y)))


def broken(form: str, seed: int) -> Program:
    return _program(form, seed, 1 / 255 if form == "nested" else 255.0)


def fixed(form: str, seed: int) -> Program:
    return _program(form, seed, 1.0)


__all__ = ["EXPECT", "FORMS", "broken", "fixed"]
