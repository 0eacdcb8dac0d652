"""MobileNetV2 as a table of its convolutions, in order.

Sandler, Howard, Zhu, Zhmoginov, Chen: MobileNetV2: Inverted Residuals and Linear Bottlenecks
(CVPR 2018), table 2, at width 1.0. Layer names are those of ``keras.applications.MobileNetV2``,
by which weights can be checked without TensorFlow.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from saldiag.core.measurement import Array

NETWORK = "MobileNetV2"
EPSILON = 1e-3
MOMENTUM = 0.999
"""Epsilon and momentum of every BatchNorm of ``keras.applications.MobileNetV2``."""


@dataclass(frozen=True)
class Bottleneck:
    """One bottleneck inverted residual."""

    in_filters: int
    """Channels of the input."""
    filters: int
    """Channels of the output."""
    expansion: int
    """Factor by which the first convolution expands the channels."""
    strides: int
    """Stride of the depthwise convolution."""


BLOCKS: tuple[Bottleneck, ...] = (
    Bottleneck(32, 16, 1, 1),
    Bottleneck(16, 24, 6, 2),
    Bottleneck(24, 24, 6, 1),
    Bottleneck(24, 32, 6, 2),
    Bottleneck(32, 32, 6, 1),
    Bottleneck(32, 32, 6, 1),
    Bottleneck(32, 64, 6, 2),
    Bottleneck(64, 64, 6, 1),
    Bottleneck(64, 64, 6, 1),
    Bottleneck(64, 64, 6, 1),
    Bottleneck(64, 96, 6, 1),
    Bottleneck(96, 96, 6, 1),
    Bottleneck(96, 96, 6, 1),
    Bottleneck(96, 160, 6, 2),
    Bottleneck(160, 160, 6, 1),
    Bottleneck(160, 160, 6, 1),
    Bottleneck(160, 320, 6, 1),
)


@dataclass(frozen=True)
class ConvolutionUnit:
    """A convolution with its BatchNorm."""

    conv: str
    """Name of the convolution layer."""
    norm: str
    """Name of the BatchNorm layer."""
    kernel: tuple[int, int, int, int]
    """Shape of the kernel."""
    strides: int
    """Stride of the convolution."""
    activation: str
    """Name of the activation that follows; ``linear`` for none."""

    @property
    def channels(self) -> int:
        """Channels of the output, which is the length of each BatchNorm variable."""
        return math.prod(self.kernel[2:]) if self.conv.endswith("depthwise") else self.kernel[3]

    @property
    def shapes(self) -> dict[str, tuple[tuple[int, ...], ...]]:
        """Shapes of the weights of both layers, in Keras' order."""
        return {self.conv: (self.kernel,), self.norm: ((self.channels,),) * 4}

    def unfold_weights(self, kernel: Array, bias: Array) -> dict[str, list[Array]]:
        """Weights of both layers from a kernel and bias into which BatchNorm was folded.

        The BatchNorm becomes ``x + bias``: gamma = sqrt(1 + epsilon), moving mean 0 and moving
        variance 1. That is exact in inference mode.
        """
        gamma = np.full(self.channels, math.sqrt(1 + EPSILON), np.float32)
        mean, variance = np.zeros(self.channels, np.float32), np.ones(self.channels, np.float32)
        return {
            self.conv: [kernel.astype(np.float32)],
            self.norm: [gamma, bias.astype(np.float32), mean, variance],
        }


def _list_units() -> Iterator[ConvolutionUnit]:
    yield ConvolutionUnit("Conv1", "bn_Conv1", (3, 3, 3, 32), 2, "relu6")
    for number, block in enumerate(BLOCKS):
        prefix = f"block_{number}" if number else "expanded_conv"
        wide = block.in_filters * block.expansion
        if number:
            kernel = (1, 1, block.in_filters, wide)
            yield ConvolutionUnit(f"{prefix}_expand", f"{prefix}_expand_BN", kernel, 1, "relu6")
        kernel, name = (3, 3, wide, 1), f"{prefix}_depthwise"
        yield ConvolutionUnit(name, f"{name}_BN", kernel, block.strides, "relu6")
        kernel, name = (1, 1, wide, block.filters), f"{prefix}_project"
        yield ConvolutionUnit(name, f"{name}_BN", kernel, 1, "linear")


UNITS: tuple[ConvolutionUnit, ...] = tuple(_list_units())
"""All convolutions up to ``block_16_project``, in the order of the network."""

SHAPES: dict[str, tuple[tuple[int, ...], ...]] = {
    name: shapes for unit in UNITS for name, shapes in unit.shapes.items()
}
"""Shapes of the weights of every layer that the encoder uses, by layer name."""
