"""mixed_float16 with the loss scale fixed at 1, under a loss that is small by its weight."""

import keras

from saldiag.selftest.program import FORMS, Program, binary_data, build_chain, compile_model, layers

EXPECT = "SD206"


def _program(form: str, seed: int, scale: float) -> Program:
    keras.config.set_dtype_policy("mixed_float16")
    parts = [
        layers.Dense(64, activation="tanh"),
        layers.Dense(64, activation="tanh"),
        layers.Dense(1, activation="sigmoid", dtype="float32"),
    ]
    scaled = keras.optimizers.LossScaleOptimizer(
        keras.optimizers.Adam(1e-2, epsilon=1e-12), initial_scale=scale, dynamic_growth_steps=10**6
    )
    model = compile_model(
        build_chain(form, (8,), parts), "mse", optimizer=scaled, loss_weights=[1e-5]
    )
    return Program(model, [binary_data(seed)], 80)


def broken(form: str, seed: int) -> Program:
    return _program(form, seed, 1.0)


def fixed(form: str, seed: int) -> Program:
    return _program(form, seed, 2.0**20)


__all__ = ["EXPECT", "FORMS", "broken", "fixed"]
