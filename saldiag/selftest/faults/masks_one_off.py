"""A ``tf.data`` pipeline that skips a picture and not its mask: every mask is the neighbour's."""

import tensorflow as tf

from saldiag.selftest.program import FitPlan, Program, compile_model, keras, layers, mask_data

EXPECT = "SD607"
FORMS = ("functional",)


def _program(seed: int, skipped: int) -> Program:
    x, masks = mask_data(seed, 65, side=24)
    data = tf.data.Dataset.zip(
        tf.data.Dataset.from_tensor_slices(x).skip(1),
        tf.data.Dataset.from_tensor_slices(masks).skip(skipped),
    ).batch(16)
    inputs = keras.Input((24, 24, 3))
    fine = layers.Conv2D(8, 3, padding="same", activation="relu")(inputs)
    coarse = layers.Conv2D(16, 3, padding="same", activation="relu")(layers.MaxPooling2D()(fine))
    up = layers.Concatenate()([layers.UpSampling2D()(coarse), fine])
    outputs = layers.Conv2D(1, 3, padding="same", activation="sigmoid")(up)
    model = compile_model(keras.Model(inputs, outputs), "binary_crossentropy")
    batches = [(a.numpy(), b.numpy()) for a, b in data.take(2)]
    return Program(model, batches, 120, plan=FitPlan(data=data, epochs=5))


def broken(form: str, seed: int) -> Program:
    return _program(seed, 0)


def fixed(form: str, seed: int) -> Program:
    return _program(seed, 1)


__all__ = ["EXPECT", "FORMS", "broken", "fixed"]
