"""Early stopping on a metric that is not compiled, under another name; a GRU."""

import keras

from saldiag.selftest.program import (
    FORMS,
    FitPlan,
    Program,
    build_chain,
    compile_model,
    layers,
    token_data,
)

EXPECT = "SD709"


def _program(form: str, seed: int, monitor: str) -> Program:
    parts = [layers.Embedding(20, 8), layers.GRU(16), layers.Dense(1, activation="sigmoid")]
    model = build_chain(form, (10,), parts)
    compile_model(model, "binary_crossentropy", metrics=[keras.metrics.AUC(name="auc")])
    batch = token_data(seed)
    stopping = keras.callbacks.EarlyStopping(monitor, mode="max", patience=5)
    plan = FitPlan(epochs=30, steps_per_epoch=10, callbacks=(stopping,))
    return Program(model, [batch], plan=plan)


def broken(form: str, seed: int) -> Program:
    return _program(form, seed, "val_auroc")


def fixed(form: str, seed: int) -> Program:
    return _program(form, seed, "val_auc")


__all__ = ["EXPECT", "FORMS", "broken", "fixed"]
