"""Initializers for kernels that Keras' own initializers scale wrongly."""

from __future__ import annotations

from typing import Any

import keras


@keras.saving.register_keras_serializable(package="saldiag")
class PerChannelScaling(keras.initializers.VarianceScaling):
    """Uniform initializer of depthwise kernels (k, k, channels, multiplier), variance ``scale/k²``.

    Each output of a depthwise convolution depends on k² inputs. Keras' initializers count the
    inputs of all channels, so the output's variance is too small by the number of channels. A
    BatchNorm after the convolution hides that only in training mode: its moving variance starts at
    1.

    Args:
        scale: variance of the output over the mean square of the input. 2 (He et al., ICCV 2015)
            compensates for the half that a ReLU before the convolution removes.
        seed: seed of the values.
    """

    def __init__(self, scale: float = 2.0, seed: int | None = None) -> None:
        super().__init__(scale, "fan_in", "uniform", seed)

    def __call__(self, shape: tuple[int, ...], dtype: str | None = None) -> Any:
        """The kernel, a tensor of that shape."""
        all_channels = keras.initializers.VarianceScaling(
            self.scale * shape[2], self.mode, self.distribution, self.seed
        )
        return all_channels(shape, dtype)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {"scale": self.scale, "seed": super().get_config()["seed"]}
