"""The paper's encoder block: the bottleneck inverted residual."""

from __future__ import annotations

from typing import Any

import keras

from saldiag.quicksal.blocks.composite import CompositeLayer
from saldiag.quicksal.blocks.mobilenet_v2 import EPSILON, MOMENTUM


@keras.saving.register_keras_serializable(package="saldiag")
class BottleneckInvertedResidual(CompositeLayer):
    """1x1 expansion, 3x3 depthwise convolution, 1x1 projection; BatchNorm after each.

    Takes (N, H, W, in_filters) and returns (N, H / strides, W / strides, filters). ReLU follows the
    first two convolutions, nothing the third (Sandler et al., CVPR 2018, table 1); the input is
    added where the stride is 1 and the channels match. H and W must be even where strides is 2.

    Args:
        in_filters: channels of the input.
        filters: channels of the output.
        expansion: the expansion multiplies the channels by this; None: no expansion convolution.
        strides: stride of the depthwise convolution.
        relu_limit: upper limit of the activations (6 is ReLU6); None: plain ReLU.
        activation_dtype: dtype of the activation layers; None: the policy's.
        **options: those of ``CompositeLayer``, such as ``name``.
    """

    def __init__(
        self,
        in_filters: int,
        filters: int,
        *,
        expansion: int | None = 6,
        strides: int = 1,
        relu_limit: float | None = 6.0,
        activation_dtype: str | None = None,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.in_filters, self.filters, self.strides = in_filters, filters, strides
        self.expansion, self.relu_limit = expansion, relu_limit
        self.activation_dtype = activation_dtype
        dtype = self.dtype_policy
        relu: dict[str, Any] = {"max_value": relu_limit, "dtype": activation_dtype or dtype}
        conv: dict[str, Any] = {"padding": "same", "use_bias": False, "dtype": dtype}
        norm: dict[str, Any] = {"epsilon": EPSILON, "momentum": MOMENTUM, "dtype": dtype}

        self.expand: Any = None
        if expansion is not None:
            self.expand = keras.layers.Conv2D(in_filters * expansion, 1, name="expand", **conv)
            self.expand_norm = keras.layers.BatchNormalization(name="expand_BN", **norm)
            self.expand_relu = keras.layers.ReLU(**relu, name="expand_relu")
        self.depthwise = keras.layers.DepthwiseConv2D(3, strides, name="depthwise", **conv)
        self.depthwise_norm = keras.layers.BatchNormalization(name="depthwise_BN", **norm)
        self.depthwise_relu = keras.layers.ReLU(**relu, name="depthwise_relu")
        self.project = keras.layers.Conv2D(filters, 1, name="project", **conv)
        self.project_norm = keras.layers.BatchNormalization(name="project_BN", **norm)
        self.residual: Any = None
        if strides == 1 and in_filters == filters:
            self.residual = keras.layers.Add(name="add", dtype=dtype)

    def build_parts(self, input_shape: tuple[int | None, ...]) -> None:
        """Build all layers of the block."""
        batch, height, width, _ = input_shape
        wide = (batch, height, width, self.in_filters * (self.expansion or 1))
        if self.expansion is not None:
            self.expand.build(input_shape)
            self.expand_norm.build(wide)
        self.depthwise.build(wide)
        narrow = self.depthwise.compute_output_shape(wide)
        self.depthwise_norm.build(narrow)
        self.project.build(narrow)
        self.project_norm.build(self.project.compute_output_shape(narrow))
        if self.residual is not None:
            self.residual.build([input_shape, input_shape])

    def call(self, inputs: Any) -> Any:
        """Apply the block."""
        x = inputs
        if self.expansion is not None:
            x = self.expand_relu(self.expand_norm(self.expand(x)))
        x = self.depthwise_relu(self.depthwise_norm(self.depthwise(x)))
        x = self.project_norm(self.project(x))
        return x if self.residual is None else self.residual([inputs, x])

    def convolutions(self) -> list[tuple[Any, Any, bool]]:
        """Each convolution with its BatchNorm, and whether an activation follows, in order.

        A method, because Keras visits properties when it saves.
        """
        expand = [] if self.expand is None else [(self.expand, self.expand_norm, True)]
        return [
            *expand,
            (self.depthwise, self.depthwise_norm, True),
            (self.project, self.project_norm, False),
        ]

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Shape of the output for a shape of the input."""
        height, width = (n if n is None else -(-n // self.strides) for n in input_shape[1:3])
        return (input_shape[0], height, width, self.filters)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {
            **super().get_config(),
            "in_filters": self.in_filters,
            "filters": self.filters,
            "expansion": self.expansion,
            "strides": self.strides,
            "relu_limit": self.relu_limit,
            "activation_dtype": self.activation_dtype,
        }
