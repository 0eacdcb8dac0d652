"""Adam with a learning rate of 3: every step replaces the weights."""

from saldiag.selftest.program import FORMS, Program, chain, compiled, layers, numbers

EXPECT = "SD701"


def _program(form: str, seed: int, rate: float) -> Program:
    parts = [
        layers.Dense(64, activation="relu"),
        layers.Dense(64, activation="relu"),
        layers.Dense(64, activation="relu"),
        layers.Dense(1, activation="sigmoid", name="answer"),
    ]
    return Program(compiled(chain(form, (8,), parts), "mse", rate=rate), [numbers(seed)])


def broken(form: str, seed: int) -> Program:
    return _program(form, seed, 3.0)


def fixed(form: str, seed: int) -> Program:
    return _program(form, seed, 3e-3)


__all__ = ["EXPECT", "FORMS", "broken", "fixed"]
