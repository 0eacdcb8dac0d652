"""A loss of one's own that takes targets (n,) from predictions (n, 1)."""

from typing import Any

from saldiag.selftest.program import (
    FORMS,
    Program,
    build_chain,
    compile_model,
    keras,
    layers,
    regression_data,
)

EXPECT = "SD108"


class Squares(keras.losses.Loss):
    def call(self, y_true: Any, y_pred: Any) -> Any:
        return keras.ops.square(y_true - y_pred)


def _program(form: str, seed: int, *, column: bool) -> Program:
    x, y = regression_data(seed)
    hidden = layers.Dense(64, activation="relu", name="hidden")
    model = compile_model(
        build_chain(form, (6,), [hidden, layers.Dense(1, name="answer")]), Squares()
    )
    return Program(model, [(x, y if column else y[:, 0])])


def broken(form: str, seed: int) -> Program:
    return _program(form, seed, column=False)


def fixed(form: str, seed: int) -> Program:
    return _program(form, seed, column=True)


__all__ = ["EXPECT", "FORMS", "broken", "fixed"]
