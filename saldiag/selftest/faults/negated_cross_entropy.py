"""Minus the binary cross-entropy of masks, by a weight of -1; a convolutional network."""

from saldiag.selftest.program import FORMS, Program, build_chain, compile_model, layers, mask_data

EXPECT = "SD707"


def _program(form: str, seed: int, weight: float) -> Program:
    parts = [
        layers.Conv2D(16, 3, padding="same", activation="relu"),
        layers.Conv2D(1, 3, padding="same", activation="sigmoid"),
    ]
    model = build_chain(form, (16, 16, 3), parts)
    compile_model(model, "binary_crossentropy", loss_weights=[weight])
    return Program(model, [mask_data(seed)])


def broken(form: str, seed: int) -> Program:
    return _program(form, seed, -1.0)


def fixed(form: str, seed: int) -> Program:
    return _program(form, seed, 1.0)


__all__ = ["EXPECT", "FORMS", "broken", "fixed"]
