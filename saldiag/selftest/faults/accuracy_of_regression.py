"""A regression that is watched by its accuracy, which is 0 for ever."""

from saldiag.selftest.program import FORMS, Program, chain, compiled, curve, layers

EXPECT = "SD710"


def _program(form: str, seed: int, metric: str) -> Program:
    parts = [layers.Dense(64, activation="relu"), layers.Dense(1)]
    model = compiled(chain(form, (6,), parts), "mse", metrics=[metric])
    return Program(model, [curve(seed)])


def broken(form: str, seed: int) -> Program:
    return _program(form, seed, "accuracy")


def fixed(form: str, seed: int) -> Program:
    return _program(form, seed, "mae")


__all__ = ["EXPECT", "FORMS", "broken", "fixed"]
