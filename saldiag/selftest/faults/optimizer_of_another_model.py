"""An optimizer object that has trained one model already is given to the next."""

import keras

from saldiag.selftest.program import (
    FORMS,
    Program,
    build_chain,
    compile_model,
    layers,
    regression_data,
)

EXPECT = "SD407"


def _program(form: str, seed: int, *, shared: bool) -> Program:
    x, y = regression_data(seed)
    optimizers = [keras.optimizers.Adam(1e-2), keras.optimizers.Adam(1e-2)]
    models = []
    for optimizer in optimizers[:1] * 2 if shared else optimizers:
        parts = [layers.Dense(64, activation="relu"), layers.Dense(1)]
        models.append(compile_model(build_chain(form, (6,), parts), "mse", optimizer=optimizer))
        if len(models) == 1:
            models[0].fit(x, y, verbose=0)
    return Program(models[1], [(x, y)])


def broken(form: str, seed: int) -> Program:
    return _program(form, seed, shared=True)


def fixed(form: str, seed: int) -> Program:
    return _program(form, seed, shared=False)


__all__ = ["EXPECT", "FORMS", "broken", "fixed"]
