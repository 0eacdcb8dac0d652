"""A LearningRateScheduler that divides the rate by ten in each epoch; a convolutional network."""

import keras

from saldiag.selftest.program import (
    FORMS,
    FitPlan,
    Program,
    build_chain,
    compile_model,
    layers,
    size_data,
)

EXPECT = "SD706"


def _program(form: str, seed: int, factor: float) -> Program:
    parts = [
        layers.Conv2D(16, 3, activation="relu"),
        layers.MaxPooling2D(),
        layers.Flatten(),
        layers.Dense(3, activation="softmax"),
    ]
    x, kinds = size_data(seed)
    model = compile_model(
        build_chain(form, (16, 16, 3), parts), "sparse_categorical_crossentropy", rate=3e-3
    )
    scheduler = keras.callbacks.LearningRateScheduler(lambda _, rate: factor * rate)
    plan = FitPlan(data=(x, kinds), epochs=30, batch_size=8, callbacks=(scheduler,))
    return Program(model, [(x, kinds)], plan=plan)


def broken(form: str, seed: int) -> Program:
    return _program(form, seed, 0.1)


def fixed(form: str, seed: int) -> Program:
    return _program(form, seed, 0.9)


__all__ = ["EXPECT", "FORMS", "broken", "fixed"]
