"""Slow BatchNorm behind layers whose outputs start small: depthwise, separable, dense, residual."""

from typing import Any

from saldiag.selftest.program import Program, compile_model, keras, layers
from saldiag.selftest.validation_data import colour_data, fit_arguments, split_items

EXPECT = "SD802"
FORMS = ("depthwise", "separable", "dense", "residual")


def _depthwise(inputs: Any, momentum: float) -> Any:
    hidden = layers.DepthwiseConv2D(5, depth_multiplier=4, use_bias=False)(inputs)
    hidden = layers.ReLU()(layers.BatchNormalization(momentum=momentum)(hidden))
    return layers.GlobalAveragePooling2D()(hidden)


def _separable(inputs: Any, momentum: float) -> Any:
    hidden = layers.SeparableConv2D(12, 3, use_bias=False)(inputs)
    hidden = layers.ReLU()(layers.BatchNormalization(momentum=momentum)(hidden))
    return layers.GlobalMaxPooling2D()(hidden)


def _dense(inputs: Any, momentum: float) -> Any:
    hidden = layers.Flatten()(layers.AveragePooling2D(3)(inputs))
    for _ in range(2):
        hidden = layers.Dense(24, use_bias=False)(hidden)
        hidden = layers.ReLU()(layers.BatchNormalization(momentum=momentum)(hidden))
    return hidden


def _residual(inputs: Any, momentum: float) -> Any:
    hidden = layers.Conv2D(8, 3, padding="same")(inputs)
    more = layers.Conv2D(8, 3, padding="same", use_bias=False)(hidden)
    more = layers.ReLU()(layers.BatchNormalization(momentum=momentum)(more))
    hidden = layers.Add()([hidden, more])
    return layers.GlobalAveragePooling2D()(hidden)


def _program(form: str, seed: int, momentum: float) -> Program:
    body = {
        "depthwise": _depthwise, "separable": _separable, "dense": _dense, "residual": _residual,
    }[form]  # fmt: skip
    inputs = keras.Input((12, 12, 3))
    outputs = layers.Dense(3, activation="softmax")(body(inputs, momentum))
    model = compile_model(keras.Model(inputs, outputs), "sparse_categorical_crossentropy")
    return Program(
        model, fit=fit_arguments(*split_items(colour_data(seed, light=0.1), 96), epochs=6)
    )


def broken(form: str, seed: int) -> Program:
    return _program(form, seed, 0.99)


def fixed(form: str, seed: int) -> Program:
    return _program(form, seed, 0.9)


__all__ = ["EXPECT", "FORMS", "broken", "fixed"]
