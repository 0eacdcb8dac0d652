"""The decoder: five inception blocks, from the deepest encoder output up."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras

from saldiag.quicksal.blocks.inception import InceptionBlock
from saldiag.quicksal.blocks.initializers import PerChannelScaling

BLOCKS: tuple[tuple[str, int, tuple[int, ...]], ...] = (
    ("inception_5", 96, (1, 3)),
    ("inception_4", 32, (1, 3, 5)),
    ("inception_3", 24, (1, 3, 5)),
    ("inception_2", 16, (1, 3, 5, 7)),
    ("inception_1", 16, (1, 3, 5, 7)),
)
"""Name, channels of the output and kernel sizes of each block, the deepest first."""

MOMENTUM = 0.7
"""Momentum of the BatchNorms' moving statistics, which then average some six batches.

At the recipe's learning rates the mean of a projection moves by up to 3 % of its standard deviation
in each of the first hundred steps. Averages over more batches lag so far behind that inference mode
is wrong; the noise of few batches costs less than 0.001 of MAE.
"""


def build_decoder(
    taps: Sequence[Any],
    *,
    identical_branches: bool = False,
    activation_dtype: str | None = None,
    depthwise_initializer: Any = None,
    momentum: float = MOMENTUM,
) -> Any:
    """Join the encoder's outputs from the deepest up.

    Args:
        taps: the encoder's five outputs, the finest first.
        identical_branches: a fault of the case, see ``saldiag.quicksal.as_reported``.
        activation_dtype: dtype of the activation layers; None uses the policy's.
        depthwise_initializer: initializer of the depthwise kernels; None is
            ``PerChannelScaling``, which preserves the signal's variance.
        momentum: momentum of the BatchNorms' moving statistics.

    Returns:
        A tensor (N, S, S, 16) for an input of size S.
    """
    x = taps[-1]
    for number, (name, filters, kernel_sizes) in enumerate(BLOCKS):
        if number:
            join = keras.layers.Concatenate(name=name.replace("inception", "join"))
            x = join([taps[-1 - number], x])
        sizes = [kernel_sizes[0] for _ in kernel_sizes] if identical_branches else kernel_sizes
        block = InceptionBlock(
            x.shape[-1],
            filters,
            sizes,
            activation_dtype=activation_dtype,
            depthwise_initializer=depthwise_initializer or PerChannelScaling(),
            momentum=momentum,
            name=name,
        )
        x = block(x)
    return x
