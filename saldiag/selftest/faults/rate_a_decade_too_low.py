"""Adam at 1e-5: the loss falls straight, and would for thousands of steps."""

from saldiag.selftest.program import (
    FORMS,
    Program,
    build_chain,
    compile_model,
    layers,
    regression_data,
)

EXPECT = "SD803"


def _program(form: str, seed: int, rate: float) -> Program:
    parts = [layers.Dense(64, activation="relu"), layers.Dense(64, activation="relu"),
             layers.Dense(1)]  # fmt: skip
    return Program(
        compile_model(build_chain(form, (6,), parts), "mse", rate=rate),
        [regression_data(seed)],
        150,
    )


def broken(form: str, seed: int) -> Program:
    return _program(form, seed, 1e-5)


def fixed(form: str, seed: int) -> Program:
    return _program(form, seed, 1e-2)


__all__ = ["EXPECT", "FORMS", "broken", "fixed"]
