"""``quicksal-as-reported``: the model of the case, each of its faults behind a switch."""

from __future__ import annotations

import difflib
import importlib
import sys
from collections.abc import Collection, Iterator
from typing import Any

import keras

from saldiag.core.errors import ModelError
from saldiag.quicksal.blocks.bir import BottleneckInvertedResidual
from saldiag.quicksal.blocks.decoder import build_decoder
from saldiag.quicksal.blocks.encoder import ENCODER_NAME, PlacedConvolution, check_image_size
from saldiag.quicksal.blocks.mobilenet_v2 import BLOCKS, EPSILON, MOMENTUM, UNITS
from saldiag.quicksal.model import assign_start_weights
from saldiag.quicksal.pretrained.weights import EncoderWeights, load_encoder_weights

FAULTS: tuple[str, ...] = (
    "softmax_head",
    "identical_branches",
    "late_strides",
    "random_expand",
    "shadowed_trainable",
    "relu_for_relu6",
    "float32_islands",
    "silenced_warnings",
)
"""All faults of the case.

- ``softmax_head``: Convf2 has activation softmax over its one channel, and a softmax follows.
- ``identical_branches``: all depthwise branches of an inception block have kernel size 1.
- ``late_strides``: the last block of a stage has stride 2, not the first one as in the network
  that the weights come from.
- ``random_expand``: block 1 has an expansion that MobileNetV2 lacks, with random initial weights;
  the stem's convolution and its BatchNorm have random initial weights as well.
- ``shadowed_trainable``: every encoder block is frozen, then one layer in block 1 is unfrozen.
- ``relu_for_relu6``: ReLU where the weights were trained with ReLU6.
- ``float32_islands``: every activation layer computes in float32, whatever the policy.
- ``silenced_warnings``: Keras' UserWarnings are suppressed before the model is built.
"""

SLOW_STATISTICS: dict[str, Any] = {"depthwise_initializer": "glorot_uniform", "momentum": 0.99}
"""The decoder's settings in the case, with or without faults: both are Keras' defaults.

The depthwise branches have an initial variance of 0.0005 to 0.004, and the moving variance takes
over 600 steps to fall from 1 to that: until then inference mode suppresses the branches.
"""

TAPPED_BLOCKS = (3, 6, 13, 17)
"""Numbers of the blocks, from 1, whose outputs the decoder reads besides the stem's."""
LATE_STRIDES = {3: 2, 6: 2, 10: 2, 16: 2}
"""Stride by block number under ``late_strides``, where it is not 1."""


def quicksal_as_reported(
    faults: Collection[str] = FAULTS,
    image_size: int = 224,
    *,
    weights: EncoderWeights | str = "auto",
    seed: int = 0,
) -> Any:
    """Build the model of the case: (N, S, S, 3) in [-1, 1] to (N, S, S, 1), float32.

    Without faults it computes the same as ``quicksal(..., **SLOW_STATISTICS)``.

    Args:
        faults: the faults to switch on, of ``FAULTS``.
        image_size: S, divisible by 32.
        weights: the encoder's weights, or what ``load_encoder_weights`` takes.
        seed: seed of the initial weights of every layer that gets no pretrained ones.

    Raises:
        ModelError: an unknown fault, or ``image_size`` is not divisible by 32.
        WeightsError: the weights cannot be read or belong to another model.
    """
    chosen = _check_faults(faults)
    check_image_size(image_size)
    if isinstance(weights, str):
        weights = load_encoder_weights(weights)
    if "silenced_warnings" in chosen:
        _silence_warnings()
    activation_dtype = "float32" if "float32_islands" in chosen else None

    encoder = _build_encoder(chosen, image_size, activation_dtype)
    placed = list(_place_convolutions(encoder, chosen))
    _freeze_encoder(encoder, chosen, pretrained=weights.kind != "random")

    inputs = keras.Input((image_size, image_size, 3), name="image")
    x = build_decoder(
        encoder(inputs),
        identical_branches="identical_branches" in chosen,
        activation_dtype=activation_dtype,
        **SLOW_STATISTICS,
    )
    head = _softmax_head if "softmax_head" in chosen else _sigmoid_head
    model = keras.Model(inputs, head(x), name="quicksal-as-reported")
    assign_start_weights(model, placed, weights, seed)
    return model


def _check_faults(faults: Collection[str]) -> frozenset[str]:
    for fault in faults:
        if fault not in FAULTS:
            near = difflib.get_close_matches(fault, FAULTS, 1)
            hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(FAULTS)}"
            raise ModelError(f"quicksal-as-reported has no fault {fault!r} ({hint})")
    return frozenset(faults)


def _silence_warnings() -> None:
    """Run the module ``silenced``, again if it was imported before."""
    name = "saldiag.quicksal.silenced"
    known = sys.modules.get(name)
    importlib.reload(known) if known else importlib.import_module(name)


def _build_encoder(faults: frozenset[str], image_size: int, activation_dtype: str | None) -> Any:
    relu_limit = None if "relu_for_relu6" in faults else 6.0
    inputs = keras.Input((image_size, image_size, 3), name="image")
    x = keras.layers.Conv2D(32, 3, 2, padding="same", use_bias=False, name="Conv1")(inputs)
    x = keras.layers.BatchNormalization(epsilon=EPSILON, momentum=MOMENTUM, name="bn_Conv1")(x)
    x = keras.layers.ReLU(relu_limit, dtype=activation_dtype, name="Conv1_relu")(x)
    taps = [x]
    for number, block in enumerate(BLOCKS, 1):
        late = LATE_STRIDES.get(number, 1)
        bir = BottleneckInvertedResidual(
            block.in_filters,
            block.filters,
            expansion=_block_expansion(number, block.expansion, faults),
            strides=late if "late_strides" in faults else block.strides,
            relu_limit=relu_limit,
            activation_dtype=activation_dtype,
            name=f"bir_{number}",
        )
        x = bir(x)
        if number in TAPPED_BLOCKS:
            taps.append(x)
    return keras.Model(inputs, taps, name=ENCODER_NAME)


def _block_expansion(number: int, factor: int, faults: frozenset[str]) -> int | None:
    """MobileNetV2's first block has no expansion; the case gave it one."""
    return None if number == 1 and "random_expand" not in faults else factor


def _freeze_encoder(encoder: Any, faults: frozenset[str], pretrained: bool) -> None:
    if "shadowed_trainable" not in faults:
        encoder.trainable = not pretrained
        return
    for block in encoder.layers:
        block.trainable = False
    first = encoder.get_layer("bir_1")
    (first.expand or first.depthwise).trainable = True


def _place_convolutions(encoder: Any, faults: frozenset[str]) -> Iterator[PlacedConvolution]:
    """The encoder's convolutions in order, each with its counterpart in MobileNetV2."""
    random_expand = "random_expand" in faults
    relu = "relu" if "relu_for_relu6" in faults else "relu6"
    units = iter(UNITS)
    conv, norm = encoder.get_layer("Conv1"), encoder.get_layer("bn_Conv1")
    yield PlacedConvolution(
        f"{ENCODER_NAME}/Conv1",
        f"{ENCODER_NAME}/bn_Conv1",
        conv,
        norm,
        relu,
        next(units),
        not random_expand,
    )
    for number in range(1, len(BLOCKS) + 1):
        block = encoder.get_layer(f"bir_{number}")
        path = f"{ENCODER_NAME}/{block.name}"
        for conv, norm, active in block.convolutions():
            yield PlacedConvolution(
                f"{path}/{conv.name}",
                f"{path}/{norm.name}",
                conv,
                norm,
                relu if active else "linear",
                None if number == 1 and conv is block.expand else next(units),
            )


def _sigmoid_head(x: Any) -> Any:
    x = keras.layers.Conv2DTranspose(8, 3, padding="same", use_bias=False, name="Convf1")(x)
    x = keras.layers.Conv2DTranspose(1, 3, padding="same", use_bias=False, name="Convf2")(x)
    return keras.layers.Activation("sigmoid", dtype="float32", name="sigmoid_output")(x)


def _softmax_head(x: Any) -> Any:
    convolution: dict[str, Any] = {"kernel_size": 3, "padding": "same", "use_bias": False}
    x = keras.layers.Conv2DTranspose(8, **convolution, name="Convf1")(x)
    x = keras.layers.Conv2DTranspose(1, **convolution, activation="softmax", name="Convf2")(x)
    return keras.layers.Activation("softmax", dtype="float32", name="softmax_output")(x)
