"""AdamW with a weight decay of 100: a step takes all that the weights are."""

import keras

from saldiag.selftest.program import (
    FORMS,
    Program,
    build_chain,
    compile_model,
    layers,
    regression_data,
)

EXPECT = "SD711"


def _program(form: str, seed: int, decay: float) -> Program:
    parts = [
        layers.Dense(64, activation="relu"),
        layers.Dense(64, activation="relu"),
        layers.Dense(1),
    ]
    optimizer = keras.optimizers.AdamW(3e-3, weight_decay=decay)
    return Program(
        compile_model(build_chain(form, (6,), parts), "mse", optimizer=optimizer),
        [regression_data(seed)],
    )


def broken(form: str, seed: int) -> Program:
    return _program(form, seed, 100.0)


def fixed(form: str, seed: int) -> Program:
    return _program(form, seed, 0.004)


__all__ = ["EXPECT", "FORMS", "broken", "fixed"]
