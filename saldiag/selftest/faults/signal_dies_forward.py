"""Ten relu layers whose weights start at a hundredth of their size: the signal dies on its way."""

import keras

from saldiag.selftest.program import (
    FORMS,
    Program,
    build_chain,
    compile_model,
    layers,
    regression_data,
)

EXPECT = "SD305"


def _program(form: str, seed: int, scale: float) -> Program:
    starts = [
        keras.initializers.VarianceScaling(scale, mode="fan_in", seed=seed + i) for i in range(10)
    ]
    hidden = [layers.Dense(32, activation="relu", kernel_initializer=start) for start in starts]
    return Program(
        compile_model(build_chain(form, (6,), [*hidden, layers.Dense(1)]), "mse", rate=1e-3),
        [regression_data(seed)],
    )


def broken(form: str, seed: int) -> Program:
    return _program(form, seed, 2e-4)


def fixed(form: str, seed: int) -> Program:
    return _program(form, seed, 2.0)


__all__ = ["EXPECT", "FORMS", "broken", "fixed"]
