"""The encoder: MobileNetV2 with five outputs, and its initial weights."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras

from saldiag.core.errors import ModelError
from saldiag.core.measurement import Array
from saldiag.quicksal.blocks.initializers import PerChannelScaling
from saldiag.quicksal.blocks.mobilenet_v2 import UNITS, ConvolutionUnit

TAPPED_LAYERS = ("Conv1_relu", "block_2_add", "block_5_add", "block_12_add", "block_16_project_BN")
"""Layers of MobileNetV2 whose outputs the decoder reads, from the finest to the deepest."""

ENCODER_NAME = "encoder"


@dataclass(frozen=True)
class PlacedConvolution:
    """A convolution of an encoder with its BatchNorm, and its counterpart in MobileNetV2."""

    conv_path: str
    """Path of the convolution from the model down."""
    norm_path: str
    """Path of its BatchNorm from the model down."""
    conv: Any
    """The convolution layer."""
    norm: Any
    """The BatchNormalization layer."""
    activation: str
    """Name of the activation that follows in this encoder; ``linear`` for none."""
    unit: ConvolutionUnit | None
    """The counterpart; None if MobileNetV2 has no such convolution."""
    copies: bool = True
    """Whether the counterpart's weights are copied; False leaves random initial weights."""


def check_image_size(image_size: int) -> None:
    """Check that the size can be halved five times, and that Keras uses ``channels_last``.

    Raises:
        ModelError: ``image_size`` is not a positive multiple of 32, or Keras is configured for
            ``channels_first``.
    """
    if image_size < 32 or image_size % 32:
        low = max(image_size // 32 * 32, 32)
        raise ModelError(
            f"image size {image_size} is not divisible by 32, and QUICKSAL halves it five times:"
            f" use {low} or {low + 32}"
        )
    if keras.config.image_data_format() != "channels_last":
        raise ModelError("QUICKSAL needs image_data_format channels_last: set it in keras.json")


def mobilenet_encoder(image_size: int) -> tuple[Any, list[PlacedConvolution]]:
    """MobileNetV2 with five outputs, and its convolutions.

    The outputs have 1/2, 1/4, 1/8, 1/16 and 1/32 of the input's height and width, and 32, 24, 32,
    96 and 320 channels.
    """
    shape = (image_size, image_size, 3)
    whole = keras.applications.MobileNetV2(shape, include_top=False, weights=None)
    taps = [whole.get_layer(name).output for name in TAPPED_LAYERS]
    encoder = keras.Model(whole.input, taps, name=ENCODER_NAME)
    placed = [
        PlacedConvolution(
            f"{ENCODER_NAME}/{unit.conv}",
            f"{ENCODER_NAME}/{unit.norm}",
            encoder.get_layer(unit.conv),
            encoder.get_layer(unit.norm),
            unit.activation,
            unit,
        )
        for unit in UNITS
    ]
    return encoder, placed


def draw_start_weights(key: str, layer: Any, seed: int, *, gain: float | None = None) -> None:
    """Draw initial weights of a convolution that depend only on ``seed`` and ``key``.

    Neither other layers nor the program's random state influence them: models that share a layer
    share its initial weights. The layer's initializer is replaced by the one used.

    Args:
        key: the layer's name.
        layer: the convolution.
        seed: seed of the whole model.
        gain: variance of the output over the mean square of the input; None uses the layer's own
            initializer.
    """
    own = zlib.crc32(f"{seed}/{key}".encode())
    depthwise = isinstance(layer, keras.layers.DepthwiseConv2D)
    name = "depthwise_initializer" if depthwise else "kernel_initializer"
    if gain is None:
        initializer = _with_seed(getattr(layer, name), own)
    elif depthwise:
        initializer = PerChannelScaling(gain, own)
    else:
        initializer = keras.initializers.VarianceScaling(gain, "fan_in", "uniform", seed=own)
    setattr(layer, name, initializer)
    layer.kernel.assign(initializer(layer.kernel.shape))


def _with_seed(initializer: Any, seed: int) -> Any:
    """The same initializer with this seed, if it is random."""
    config = initializer.get_config()
    return type(initializer).from_config({**config, "seed": seed} if "seed" in config else config)


def fill_encoder(
    placed: Sequence[PlacedConvolution], layers: Mapping[str, list[Array]], seed: int
) -> None:
    """Copy pretrained weights into an encoder; convolutions without any are initialised randomly.

    Random weights preserve the signal's variance from layer to layer (gain 2 where ReLU follows, He
    et al., ICCV 2015), because a frozen BatchNorm does not: with Keras' default the deepest output
    of a frozen random encoder would be around 1e-18, of no use to the decoder.

    Args:
        placed: the encoder's convolutions.
        layers: arrays by MobileNetV2's layer names; empty for random weights.
        seed: seed of the random weights.
    """
    for place in placed:
        key = place.unit.conv if place.unit else place.conv_path
        draw_start_weights(key, place.conv, seed, gain=1.0 if place.activation == "linear" else 2.0)
        if layers and place.unit is not None and place.copies:
            place.conv.set_weights(layers[place.unit.conv])
            place.norm.set_weights(layers[place.unit.norm])
