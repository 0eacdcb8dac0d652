"""Adam at 1e-5: the loss falls straight, and would for thousands of steps."""

from saldiag.selftest.program import FORMS, Program, chain, compiled, curve, layers

EXPECT = "SD803"


def _program(form: str, seed: int, rate: float) -> Program:
    parts = [layers.Dense(64, activation="relu"), layers.Dense(64, activation="relu"),
             layers.Dense(1)]  # fmt: skip
    return Program(compiled(chain(form, (6,), parts), "mse", rate=rate), [curve(seed)], 150)


def broken(form: str, seed: int) -> Program:
    return _program(form, seed, 1e-5)


def fixed(form: str, seed: int) -> Program:
    return _program(form, seed, 1e-2)


__all__ = ["EXPECT", "FORMS", "broken", "fixed"]
