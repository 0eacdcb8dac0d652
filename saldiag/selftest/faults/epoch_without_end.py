"""``repeat()`` in the data set, and no ``steps_per_epoch``."""

import tensorflow as tf

from saldiag.selftest.program import (
    FORMS,
    FitPlan,
    Program,
    build_chain,
    compile_model,
    layers,
    mask_data,
)

EXPECT = "SD610"


def _program(form: str, seed: int, steps: int | None) -> Program:
    x, masks = mask_data(seed)
    dataset = tf.data.Dataset.from_tensor_slices((x, masks)).shuffle(16).repeat().batch(8)
    parts = [
        layers.Conv2D(16, 3, padding="same", activation="relu"),
        layers.Conv2D(1, 3, padding="same", activation="sigmoid"),
    ]
    model = compile_model(build_chain(form, (16, 16, 3), parts), "binary_crossentropy")
    return Program(model, [(x, masks)], plan=FitPlan(data=dataset, epochs=5, steps_per_epoch=steps))


def broken(form: str, seed: int) -> Program:
    return _program(form, seed, None)


def fixed(form: str, seed: int) -> Program:
    return _program(form, seed, 2)


__all__ = ["EXPECT", "FORMS", "broken", "fixed"]
