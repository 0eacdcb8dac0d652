"""Regression targets are standardised, or scaled to 0 … 1, for training and not for validation."""

from typing import Any

from saldiag.selftest.program import Program, build_chain, compile_model, layers
from saldiag.selftest.validation_data import fit_arguments, price_data, split_items

EXPECT = "SD615"
FORMS = ("sequential", "subclassed", "minimum_and_maximum")


def _scaled(form: str, y: Any, known: Any) -> Any:
    if form == "minimum_and_maximum":
        return (y - known.min()) / (known.max() - known.min())
    return (y - known.mean()) / known.std()


def _program(form: str, seed: int, *, right: bool) -> Program:
    (train_x, train_y), (x, y) = split_items(price_data(seed), 160)
    built = "subclassed" if form == "subclassed" else "sequential"
    model = build_chain(built, (6,), [layers.Dense(32, activation="relu"), layers.Dense(1)])
    held_out = (x, _scaled(form, y, train_y) if right else y)
    train = (train_x, _scaled(form, train_y, train_y))
    return Program(compile_model(model, "mse"), fit=fit_arguments(train, held_out))


def broken(form: str, seed: int) -> Program:
    return _program(form, seed, right=False)


def fixed(form: str, seed: int) -> Program:
    return _program(form, seed, right=True)


__all__ = ["EXPECT", "FORMS", "broken", "fixed"]
