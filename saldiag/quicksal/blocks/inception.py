"""The paper's decoder block: depthwise convolutions of several sizes, side by side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras

from saldiag.quicksal.blocks.composite import CompositeLayer


@keras.saving.register_keras_serializable(package="saldiag")
class InceptionBlock(CompositeLayer):
    """Expansion, parallel depthwise convolutions, projection, and upsampling by two.

    Takes (N, H, W, in_filters) and returns (N, 2 H, 2 W, filters). A 1x1 expansion is followed by
    one depthwise convolution for each kernel size; their outputs and the expanded tensor itself
    are concatenated and projected to ``filters`` channels, then a transposed 3x3 convolution
    doubles height and width (Ramanathan et al., WACV 2020). BatchNorm after every convolution, no
    biases.

    Args:
        in_filters: channels of the input.
        filters: channels of the output.
        kernel_sizes: one depthwise branch for each.
        expansion: the first convolution multiplies the channels by this.
        activation_dtype: dtype of the activation layers; None: the policy's.
        depthwise_initializer: initializer of the depthwise kernels. Keras' default shrinks the
            signal's variance by the number of channels, see ``PerChannelScaling``.
        momentum: momentum of the BatchNorms' moving statistics, which lag some
            ``1 / (1 - momentum)`` steps behind.
        **options: those of ``CompositeLayer``, such as ``name``.
    """

    def __init__(
        self,
        in_filters: int,
        filters: int,
        kernel_sizes: Sequence[int],
        *,
        expansion: int = 6,
        activation_dtype: str | None = None,
        depthwise_initializer: Any = "glorot_uniform",
        momentum: float = 0.99,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.in_filters, self.filters = in_filters, filters
        self.kernel_sizes, self.expansion = tuple(kernel_sizes), expansion
        self.activation_dtype = activation_dtype
        self.depthwise_initializer = keras.initializers.get(depthwise_initializer)
        self.momentum = momentum
        dtype = self.dtype_policy
        relu_dtype = activation_dtype or dtype
        conv: dict[str, Any] = {"padding": "same", "use_bias": False, "dtype": dtype}
        depthwise: dict[str, Any] = {"depthwise_initializer": depthwise_initializer, **conv}
        norm: dict[str, Any] = {"momentum": momentum, "dtype": dtype}

        self.expand = keras.layers.Conv2D(in_filters * expansion, 1, name="expand", **conv)
        self.expand_norm = keras.layers.BatchNormalization(name="expand_BN", **norm)
        self.expand_relu = keras.layers.ReLU(name="expand_relu", dtype=relu_dtype)
        self.branches = [
            keras.layers.DepthwiseConv2D(size, name=f"branch_{number}", **depthwise)
            for number, size in enumerate(self.kernel_sizes, 1)
        ]
        self.branch_norms = [
            keras.layers.BatchNormalization(name=f"branch_{number}_BN", **norm)
            for number in range(1, len(self.kernel_sizes) + 1)
        ]
        self.concatenate = keras.layers.Concatenate(name="concatenate", dtype=dtype)
        self.concatenate_relu = keras.layers.ReLU(name="concatenate_relu", dtype=relu_dtype)
        self.project = keras.layers.Conv2D(filters, 1, name="project", **conv)
        self.project_norm = keras.layers.BatchNormalization(name="project_BN", **norm)
        self.upsample = keras.layers.Conv2DTranspose(filters, 3, 2, name="upsample", **conv)
        self.upsample_norm = keras.layers.BatchNormalization(name="upsample_BN", **norm)

    def build_parts(self, input_shape: tuple[int | None, ...]) -> None:
        """Build all layers of the block."""
        channels = self.in_filters * self.expansion
        wide = (*input_shape[:3], channels)
        joined = (*input_shape[:3], channels * (1 + len(self.branches)))
        self.expand.build(input_shape)
        self.expand_norm.build(wide)
        for layer in (*self.branches, *self.branch_norms):
            layer.build(wide)
        self.concatenate.build([wide] * (1 + len(self.branches)))
        self.project.build(joined)
        narrow = self.project.compute_output_shape(joined)
        self.project_norm.build(narrow)
        self.upsample.build(narrow)
        self.upsample_norm.build(self.upsample.compute_output_shape(narrow))

    def call(self, inputs: Any) -> Any:
        """Apply the block."""
        expanded = self.expand_relu(self.expand_norm(self.expand(inputs)))
        pairs = zip(self.branches, self.branch_norms, strict=True)
        parallel = [norm(branch(expanded)) for branch, norm in pairs]
        x = self.concatenate_relu(self.concatenate([*parallel, expanded]))
        x = self.project_norm(self.project(x))
        return self.upsample_norm(self.upsample(x))

    def convolutions(self) -> tuple[Any, ...]:
        """All convolutions in order. A method: Keras would save the layers in a property twice."""
        return (self.expand, *self.branches, self.project, self.upsample)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Shape of the output for a shape of the input."""
        height, width = (n if n is None else 2 * n for n in input_shape[1:3])
        return (input_shape[0], height, width, self.filters)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {
            **super().get_config(),
            "in_filters": self.in_filters,
            "filters": self.filters,
            "kernel_sizes": list(self.kernel_sizes),
            "expansion": self.expansion,
            "activation_dtype": self.activation_dtype,
            "depthwise_initializer": keras.initializers.serialize(self.depthwise_initializer),
            "momentum": self.momentum,
        }
