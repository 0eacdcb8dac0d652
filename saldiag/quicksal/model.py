"""``quicksal``: the model without faults.

Ramanathan, Jayasuriya, Pal et al., QUICKSAL: salient-object segmentation on small devices (WACV
2020), with a corrected output layer.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import keras

from saldiag.quicksal.blocks.decoder import MOMENTUM, build_decoder
from saldiag.quicksal.blocks.encoder import (
    PlacedConvolution,
    check_image_size,
    draw_start_weights,
    fill_encoder,
    mobilenet_encoder,
)
from saldiag.quicksal.blocks.inception import InceptionBlock
from saldiag.quicksal.pretrained.origins import note_origins
from saldiag.quicksal.pretrained.weights import (
    EncoderWeights,
    load_encoder_weights,
    load_model_weights,
)


def quicksal(
    image_size: int = 224,
    *,
    weights: EncoderWeights | str = "auto",
    seed: int = 0,
    depthwise_initializer: Any = None,
    momentum: float = MOMENTUM,
) -> Any:
    """Build the model: (N, S, S, 3) in [-1, 1] to (N, S, S, 1) in [0, 1], float32.

    A pretrained encoder is frozen, with its BatchNorm in inference mode; a random one is trained.

    Args:
        image_size: S, divisible by 32.
        weights: the encoder's weights, or what ``load_encoder_weights`` takes. A file of a whole
            QUICKSAL model fills the decoder as well.
        seed: seed of the initial weights of every layer that gets no pretrained ones.
        depthwise_initializer: initializer of the decoder's depthwise kernels; see
            ``build_decoder``.
        momentum: momentum of the decoder's BatchNorms.

    Raises:
        ModelError: ``image_size`` is not divisible by 32.
        WeightsError: the weights cannot be read or belong to another model.
    """
    check_image_size(image_size)
    if isinstance(weights, str):
        weights = load_encoder_weights(weights)
    encoder, placed = mobilenet_encoder(image_size)
    encoder.trainable = weights.kind == "random"

    inputs = keras.Input((image_size, image_size, 3), name="image")
    x = build_decoder(
        encoder(inputs), depthwise_initializer=depthwise_initializer, momentum=momentum
    )
    x = keras.layers.Conv2DTranspose(8, 3, padding="same", use_bias=False, name="Convf1")(x)
    x = keras.layers.Conv2DTranspose(1, 3, padding="same", use_bias=False, name="Convf2")(x)
    outputs = keras.layers.Activation("sigmoid", dtype="float32", name="sigmoid_output")(x)
    model = keras.Model(inputs, outputs, name="quicksal")
    assign_start_weights(model, placed, weights, seed)
    return model


def assign_start_weights(
    model: Any, placed: Sequence[PlacedConvolution], weights: EncoderWeights, seed: int
) -> None:
    """Assign the initial weights of a new model and record their origins.

    Args:
        model: the whole model.
        placed: the encoder's convolutions.
        weights: the encoder's weights, or those of a whole model.
        seed: seed of all other initial weights.

    Raises:
        WeightsError: ``weights`` are those of another model.
    """
    fill_encoder(placed, weights.layers, seed)
    for name, convolution in _decoder_convolutions(model):
        draw_start_weights(name, convolution, seed)
    if weights.whole and weights.path is not None:
        load_model_weights(model, weights.path)
    note_origins(model, placed, copied=weights.kind != "random")


def _decoder_convolutions(model: Any) -> Iterator[tuple[str, Any]]:
    for layer in model.layers:
        if isinstance(layer, InceptionBlock):
            yield from ((f"{layer.name}/{conv.name}", conv) for conv in layer.convolutions())
        elif isinstance(layer, keras.layers.Conv2DTranspose):
            yield layer.name, layer
