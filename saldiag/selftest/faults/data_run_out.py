"""``steps_per_epoch`` counts items where it should count batches: the data run out."""

import tensorflow as tf

from saldiag.selftest.program import (
    FORMS,
    FitPlan,
    Program,
    build_chain,
    compile_model,
    layers,
    regression_data,
)

EXPECT = "SD610"


def _program(form: str, seed: int, steps: int) -> Program:
    x, y = regression_data(seed, 64)
    dataset = tf.data.Dataset.from_tensor_slices((x, y)).shuffle(64).batch(16)
    if form == "subclassed":  # of unknown length, until it is read
        dataset = dataset.filter(lambda x, _: tf.reduce_all(tf.math.is_finite(x)))
    parts = [layers.Dense(64, activation="relu"), layers.Dense(1)]
    model = compile_model(build_chain(form, (6,), parts), "mse")
    return Program(model, [(x, y)], plan=FitPlan(data=dataset, epochs=5, steps_per_epoch=steps))


def broken(form: str, seed: int) -> Program:
    return _program(form, seed, 64)


def fixed(form: str, seed: int) -> Program:
    return _program(form, seed, 4)


__all__ = ["EXPECT", "FORMS", "broken", "fixed"]
