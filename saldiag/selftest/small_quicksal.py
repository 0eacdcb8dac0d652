"""A small QUICKSAL: its blocks and head, with an encoder of two feature maps instead of five."""

from __future__ import annotations

from typing import Any

from saldiag.selftest.program import keras, layers

SIZES = ((1, 3), (1, 3, 5))
"""Kernel sizes of the decoder's blocks, the deeper block first."""


def small_quicksal(
    *, activation: str = "sigmoid", identical: bool = False, frozen: bool = False
) -> Any:
    """An uncompiled model with random weights: (n, 16, 16, 3) in [-1, 1] to (n, 16, 16, 1).

    Args:
        activation: activation of the output map.
        identical: whether all branches of a decoder block have the first kernel size.
        frozen: whether the encoder is frozen, with its random weights.
    """
    from saldiag.quicksal.blocks.inception import InceptionBlock

    encoder = _small_encoder()
    encoder.trainable = not frozen
    inputs = keras.Input((16, 16, 3), name="image")
    fine, x = encoder(inputs)
    for name, sizes in zip(("inception_2", "inception_1"), SIZES, strict=True):
        if name == "inception_1":
            x = layers.Concatenate(name="join_1")([fine, x])
        kernels = [sizes[0]] * len(sizes) if identical else sizes
        x = InceptionBlock(x.shape[-1], 8, kernels, expansion=2, name=name)(x)
    convolution: dict[str, Any] = {"kernel_size": 3, "padding": "same", "use_bias": False}
    x = layers.Conv2DTranspose(8, **convolution, name="Convf1")(x)
    x = layers.Conv2DTranspose(1, **convolution, name="Convf2")(x)
    outputs = layers.Activation(activation, dtype="float32", name="map")(x)
    return keras.Model(inputs, outputs, name="small_quicksal")


def _small_encoder() -> Any:
    from saldiag.quicksal.blocks.bir import BottleneckInvertedResidual

    inputs = keras.Input((16, 16, 3), name="image")
    x = layers.Conv2D(8, 3, 2, padding="same", use_bias=False, name="Conv1")(inputs)
    fine = layers.ReLU(6.0, name="Conv1_relu")(layers.BatchNormalization(name="bn_Conv1")(x))
    deep = BottleneckInvertedResidual(8, 12, expansion=2, strides=2, name="bir_1")(fine)
    return keras.Model(inputs, [fine, deep], name="encoder")
