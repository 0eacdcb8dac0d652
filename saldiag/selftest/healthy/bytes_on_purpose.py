"""Integers of few bits that stay in their range, and scaling that a model does by itself."""

from __future__ import annotations

from typing import Any

from saldiag.selftest.program import (
    Program,
    binary_data,
    compile_model,
    keras,
    layers,
    mask_data,
    np,
)


def _bytes(seed: int) -> tuple[Any, Any]:
    x, masks = mask_data(seed)
    return np.round((x + 1) * 127.5).astype("uint8"), masks


def _mask(inputs: Any, x: Any, seed: int) -> Program:
    x = layers.Conv2D(16, 3, padding="same", activation="relu")(x)
    outputs = layers.Conv2D(1, 3, padding="same", activation="sigmoid")(x)
    model = compile_model(keras.Model(inputs, outputs), "binary_crossentropy")
    return Program(model, [_bytes(seed)], steps=120)


def bytes_rescaled(seed: int) -> Program:
    inputs = keras.Input((16, 16, 3), dtype="uint8")
    return _mask(inputs, layers.Rescaling(1 / 127.5, offset=-1.0)(inputs), seed)


def bytes_inverted_and_divided(seed: int) -> Program:
    """The negative: 255 - x needs no more than a byte, and a division gives floats."""
    inputs = keras.Input((16, 16, 3), dtype="uint8")
    return _mask(inputs, (255 - inputs) / 255, seed)


def divided_between_layers(seed: int) -> Program:
    inputs = keras.Input((16, 16, 3))
    return _mask(inputs, inputs / 127.5 - 1.0, seed)


def scaled_in_lambda(seed: int) -> Program:
    inputs = keras.Input((16, 16, 3))
    return _mask(inputs, layers.Lambda(lambda x: x / 255.0)(inputs), seed)


def hashed_buckets(seed: int) -> Program:
    """A hash of 32 bits, which overflows and is meant to."""
    random = np.random.default_rng(seed)
    x = random.integers(0, 2**31 - 1, size=(32, 1)).astype("int32")
    _, y = binary_data(seed)
    inputs = keras.Input((1,), dtype="int32")
    bucket = keras.ops.mod(inputs * 1_640_531_527, 512)
    made = layers.Flatten()(layers.Embedding(512, 16)(bucket))
    outputs = layers.Dense(1, activation="sigmoid")(layers.Dense(16, activation="relu")(made))
    model = compile_model(keras.Model(inputs, outputs), "binary_crossentropy")
    return Program(model, [(x, y)])


PROGRAMS = (
    bytes_rescaled, bytes_inverted_and_divided, divided_between_layers, scaled_in_lambda,
    hashed_buckets,
)  # fmt: skip
