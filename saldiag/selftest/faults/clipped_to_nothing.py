"""SGD with a clipping norm of 1e-6: every step is a thousandth of a thousandth."""

import keras

from saldiag.selftest.program import (
    FORMS,
    Program,
    build_chain,
    compile_model,
    layers,
    regression_data,
)

EXPECT = "SD207"


def _program(form: str, seed: int, limit: float) -> Program:
    parts = [layers.Dense(32, activation="relu"), layers.Dense(1)]
    optimizer = keras.optimizers.SGD(0.1, momentum=0.9, global_clipnorm=limit)
    return Program(
        compile_model(build_chain(form, (6,), parts), "mse", optimizer=optimizer),
        [regression_data(seed)],
        120,
    )


def broken(form: str, seed: int) -> Program:
    return _program(form, seed, 1e-6)


def fixed(form: str, seed: int) -> Program:
    return _program(form, seed, 5.0)


__all__ = ["EXPECT", "FORMS", "broken", "fixed"]
