"""Hidden tanh layers whose weights start so wide that every unit sits at its limit."""

import keras

from saldiag.selftest.program import FORMS, Program, binary_data, build_chain, compile_model, layers

EXPECT = "SD304"


def _program(form: str, seed: int, spread: float) -> Program:
    wide = [keras.initializers.RandomNormal(stddev=spread, seed=seed + i) for i in range(3)]
    hidden = [layers.Dense(32, activation="tanh", kernel_initializer=start) for start in wide]
    parts = [*hidden, layers.Dense(1, activation="sigmoid")]
    return Program(
        compile_model(build_chain(form, (8,), parts), "mse", rate=1e-3), [binary_data(seed)]
    )


def broken(form: str, seed: int) -> Program:
    return _program(form, seed, 30.0)


def fixed(form: str, seed: int) -> Program:
    return _program(form, seed, 0.2)


__all__ = ["EXPECT", "FORMS", "broken", "fixed"]
