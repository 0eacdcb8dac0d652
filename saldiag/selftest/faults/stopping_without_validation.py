"""Early stopping on val_loss, and no validation data given to ``fit``."""

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


def _program(form: str, seed: int, *, held_out: bool) -> Program:
    parts = [layers.Dense(32, activation="relu"), layers.Dense(3, activation="softmax")]
    model = build_chain(form, (8,), parts)
    compile_model(model, "sparse_categorical_crossentropy")
    x, kinds = class_data(seed, 64)
    plan = FitPlan(
        data=(x[:48], kinds[:48]),
        validation=[(x[48:], kinds[48:])] if held_out else (),
        epochs=30,
        callbacks=(keras.callbacks.EarlyStopping(patience=5),),
    )
    return Program(model, [(x[:48], kinds[:48])], plan=plan)


def broken(form: str, seed: int) -> Program:
    return _program(form, seed, held_out=False)


def fixed(form: str, seed: int) -> Program:
    return _program(form, seed, held_out=True)


__all__ = ["EXPECT", "FORMS", "broken", "fixed"]
