"""BatchNorm over dense features, trained one item at a time: its output is beta, always."""

from saldiag.selftest.program import (
    FORMS,
    Program,
    build_chain,
    compile_model,
    layers,
    regression_data,
)

EXPECT = "SD703"


def _program(form: str, seed: int, size: int) -> Program:
    parts = [
        layers.Dense(16, use_bias=False),
        layers.BatchNormalization(name="norm"),
        layers.Activation("tanh"),
        layers.Dense(1),
    ]
    x, y = regression_data(seed, 16)
    batches = [(x[i : i + size], y[i : i + size]) for i in range(0, 16, size)]
    return Program(compile_model(build_chain(form, (6,), parts), "mse"), batches, 100)


def broken(form: str, seed: int) -> Program:
    return _program(form, seed, 1)


def fixed(form: str, seed: int) -> Program:
    return _program(form, seed, 16)


__all__ = ["EXPECT", "FORMS", "broken", "fixed"]
