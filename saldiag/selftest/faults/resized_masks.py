"""Masks that were resized by interpolation beside their pictures."""

import tensorflow as tf

from saldiag.selftest.program import FORMS, Program, build_chain, compile_model, layers, mask_data

EXPECT = "SD611"


def _program(form: str, seed: int, method: str) -> Program:
    x, masks = mask_data(seed, side=40)
    x = tf.image.resize(x, (24, 24), method="area").numpy()
    masks = tf.image.resize(masks, (24, 24), method=method).numpy()
    parts = [
        layers.Conv2D(16, 3, padding="same", activation="relu"),
        layers.Conv2D(1, 3, padding="same", activation="sigmoid"),
    ]
    model = compile_model(build_chain(form, (24, 24, 3), parts), "binary_crossentropy")
    return Program(model, [(x, masks)], 100)


def broken(form: str, seed: int) -> Program:
    return _program(form, seed, "bilinear")


def fixed(form: str, seed: int) -> Program:
    return _program(form, seed, "nearest")


__all__ = ["EXPECT", "FORMS", "broken", "fixed"]
