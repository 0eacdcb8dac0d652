"""Cosine decay with as many steps as there are epochs, of 50 steps each."""

import keras

from saldiag.selftest.program import FORMS, FitPlan, Program, chain, compiled, curve, layers

EXPECT = "SD706"
EPOCHS, STEPS = 20, 50


def _program(form: str, seed: int, decay_steps: int) -> Program:
    schedule = keras.optimizers.schedules.CosineDecay(0.01, decay_steps=decay_steps)
    model = chain(form, (6,), [layers.Dense(64, activation="relu"), layers.Dense(1)])
    compiled(model, "mse", optimizer=keras.optimizers.SGD(schedule, momentum=0.9))
    plan = FitPlan(epochs=EPOCHS, steps_per_epoch=STEPS)
    return Program(model, [curve(seed)], 150, plan=plan)


def broken(form: str, seed: int) -> Program:
    return _program(form, seed, EPOCHS)


def fixed(form: str, seed: int) -> Program:
    return _program(form, seed, EPOCHS * STEPS)


__all__ = ["EXPECT", "FORMS", "broken", "fixed"]
