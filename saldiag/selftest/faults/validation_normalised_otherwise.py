"""Training inputs are standardised, validation inputs by other statistics or not at all."""

from typing import Any

from saldiag.selftest.program import Program, build_chain, compile_model, layers
from saldiag.selftest.validation_data import blob_data, fit_arguments, price_data, split_items

EXPECT = "SD614"
FORMS = ("not_at_all", "minimum_and_maximum", "regression")


def _scaled(form: str, x: Any, train: Any, *, right: bool) -> Any:
    if right:
        return (x - train.mean(0)) / train.std(0)
    if form == "minimum_and_maximum":
        return (x - x.min(0)) / (x.max(0) - x.min(0))
    return x


def _program(form: str, seed: int, *, right: bool) -> Program:
    regression = form == "regression"
    x, y = price_data(seed) if regression else blob_data(seed)
    y = (y - 300) / 60 if regression else y
    (train_x, train_y), (held_x, held_y) = split_items((7 * x + 20, y), 112)
    train = _scaled(form, train_x, train_x, right=True)
    held_out = _scaled(form, held_x, train_x, right=right)
    last = layers.Dense(1) if regression else layers.Dense(4, activation="softmax")
    model = build_chain("functional", x.shape[1:], [layers.Dense(32, activation="relu"), last])
    compile_model(model, "mse" if regression else "sparse_categorical_crossentropy")
    return Program(model, fit=fit_arguments((train, train_y), (held_out, held_y)))


def broken(form: str, seed: int) -> Program:
    return _program(form, seed, right=False)


def fixed(form: str, seed: int) -> Program:
    return _program(form, seed, right=True)


__all__ = ["EXPECT", "FORMS", "broken", "fixed"]
