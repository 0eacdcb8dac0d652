"""A regression that is watched by its accuracy, which is 0 for ever."""

from saldiag.selftest.program import (
    FORMS,
    Program,
    build_chain,
    compile_model,
    layers,
    regression_data,
)

EXPECT = "SD710"


def _program(form: str, seed: int, metric: str) -> Program:
    parts = [layers.Dense(64, activation="relu"), layers.Dense(1)]
    model = compile_model(build_chain(form, (6,), parts), "mse", metrics=[metric])
    return Program(model, [regression_data(seed)])


def broken(form: str, seed: int) -> Program:
    return _program(form, seed, "accuracy")


def fixed(form: str, seed: int) -> Program:
    return _program(form, seed, "mae")


__all__ = ["EXPECT", "FORMS", "broken", "fixed"]
