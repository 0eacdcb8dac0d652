"""Cosine decay with as many steps as there are epochs, of 50 steps each."""

import keras

from saldiag.selftest.program import (
    FORMS,
    FitPlan,
    Program,
    build_chain,
    compile_model,
    layers,
    regression_data,
)

EXPECT = "SD706"
EPOCHS, STEPS = 20, 50


def _program(form: str, seed: int, decay_steps: int) -> Program:
    schedule = keras.optimizers.schedules.CosineDecay(0.01, decay_steps=decay_steps)
    model = build_chain(form, (6,), [layers.Dense(64, activation="relu"), layers.Dense(1)])
    compile_model(model, "mse", optimizer=keras.optimizers.SGD(schedule, momentum=0.9))
    plan = FitPlan(epochs=EPOCHS, steps_per_epoch=STEPS)
    return Program(model, [regression_data(seed)], 150, plan=plan)


def broken(form: str, seed: int) -> Program:
    return _program(form, seed, EPOCHS)


def fixed(form: str, seed: int) -> Program:
    return _program(form, seed, EPOCHS * STEPS)


__all__ = ["EXPECT", "FORMS", "broken", "fixed"]
