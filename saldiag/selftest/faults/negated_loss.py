"""A loss of one's own that is minus the mean squared error."""

from typing import Any

import keras

from saldiag.selftest.attention import READERS
from saldiag.selftest.program import FORMS as CHAINS
from saldiag.selftest.program import (
    Program,
    build_chain,
    compile_model,
    layers,
    regression_data,
    token_data,
)

EXPECT = "SD707"
FORMS = (*CHAINS, *READERS)


def negated(y_true: Any, y_pred: Any) -> Any:
    """The wrong way up."""
    return -keras.ops.mean(keras.ops.square(y_true - y_pred))


def squared(y_true: Any, y_pred: Any) -> Any:
    """The right way up."""
    return keras.ops.mean(keras.ops.square(y_true - y_pred))


def _program(form: str, seed: int, loss: Any) -> Program:
    if form in READERS:
        model = READERS[form]([layers.Dense(1)])
        return Program(compile_model(model, loss, rate=3e-3), [token_data(seed)], 60)
    parts = [layers.Dense(64, activation="relu"), layers.Dense(1)]
    return Program(compile_model(build_chain(form, (6,), parts), loss), [regression_data(seed)])


def broken(form: str, seed: int) -> Program:
    return _program(form, seed, negated)


def fixed(form: str, seed: int) -> Program:
    return _program(form, seed, squared)


__all__ = ["EXPECT", "FORMS", "broken", "fixed"]
