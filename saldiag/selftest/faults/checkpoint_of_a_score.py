"""A checkpoint on a metric of the user's own, of which Keras cannot tell which way is better."""

from pathlib import Path
from typing import Any

import keras

from saldiag.selftest.program import (
    FORMS,
    FitPlan,
    Program,
    build_chain,
    compile_model,
    layers,
    mask_data,
)

EXPECT = "SD709"


def overlap(y_true: Any, y_pred: Any) -> Any:
    """Intersection over union of soft masks."""
    both = keras.ops.sum(y_true * y_pred)
    return both / (keras.ops.sum(y_true) + keras.ops.sum(y_pred) - both)


def _program(form: str, seed: int, mode: str) -> Program:
    parts = [
        layers.Conv2D(16, 3, padding="same", activation="relu"),
        layers.Conv2D(1, 3, padding="same", activation="sigmoid"),
    ]
    model = compile_model(
        build_chain(form, (16, 16, 3), parts), "binary_crossentropy", metrics=[overlap]
    )
    batch = mask_data(seed)
    best = keras.callbacks.ModelCheckpoint(
        Path("best.keras"), monitor="val_overlap", mode=mode, save_best_only=True
    )
    plan = FitPlan(epochs=30, steps_per_epoch=10, callbacks=(best,))
    return Program(model, [batch], plan=plan)


def broken(form: str, seed: int) -> Program:
    return _program(form, seed, "auto")


def fixed(form: str, seed: int) -> Program:
    return _program(form, seed, "max")


__all__ = ["EXPECT", "FORMS", "broken", "fixed"]
