"""A loss of one's own that takes the entropy of the predictions, and leaves the targets out."""

from typing import Any

import keras

from saldiag.selftest.program import FORMS, Program, binary_data, build_chain, compile_model, layers

EXPECT = "SD708"


def entropy(_: Any, y_pred: Any) -> Any:
    """Of the predictions with themselves."""
    return keras.losses.binary_crossentropy(y_pred, y_pred)


def crossed(y_true: Any, y_pred: Any) -> Any:
    """Of the predictions with the targets."""
    return keras.losses.binary_crossentropy(y_true, y_pred)


def _program(form: str, seed: int, loss: Any) -> Program:
    parts = [layers.Dense(32, activation="relu"), layers.Dense(1, activation="sigmoid")]
    return Program(compile_model(build_chain(form, (8,), parts), loss), [binary_data(seed)])


def broken(form: str, seed: int) -> Program:
    return _program(form, seed, entropy)


def fixed(form: str, seed: int) -> Program:
    return _program(form, seed, crossed)


__all__ = ["EXPECT", "FORMS", "broken", "fixed"]
