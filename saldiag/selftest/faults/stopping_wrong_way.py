"""Early stopping on accuracy with mode="min": a model that gets better is stopped."""

import keras

from saldiag.selftest.program import (
    FORMS,
    FitPlan,
    Program,
    build_chain,
    class_data,
    compile_model,
    layers,
)

EXPECT = "SD709"


def _program(form: str, seed: int, mode: str) -> Program:
    parts = [layers.Dense(32, activation="relu"), layers.Dense(3, activation="softmax")]
    model = build_chain(form, (8,), parts)
    compile_model(model, "sparse_categorical_crossentropy", metrics=["accuracy"])
    batch = class_data(seed)
    stopping = keras.callbacks.EarlyStopping("val_accuracy", mode=mode, patience=5)
    plan = FitPlan(epochs=30, steps_per_epoch=10, callbacks=(stopping,))
    return Program(model, [batch], plan=plan)


def broken(form: str, seed: int) -> Program:
    return _program(form, seed, "min")


def fixed(form: str, seed: int) -> Program:
    return _program(form, seed, "max")


__all__ = ["EXPECT", "FORMS", "broken", "fixed"]
