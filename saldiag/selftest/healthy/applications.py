"""Networks of keras.applications with random weights: of at most 6 million parameters, 500 layers.

NASNetMobile has 771 layers, and takes longer than a tenth of all other programs together. Of
families whose smallest member is larger a network of the same blocks is here, fewer of them.
MobileNetV3Large and EfficientNetB0 repeat the blocks of smaller ones that take a few steps; they
are looked at before the first step only, for tracing their training takes longer than all else.
"""

from typing import Any

from saldiag.keras_internals.applications import DenseNet, EfficientNetV2
from saldiag.selftest.program import Program, compile_model, keras, size_data


def _program(
    maker: Any, seed: int, *, pixels: bool = False, steps: int = 8, **options: Any
) -> Program:
    """Pictures in [-1, 1], or 0 … 255 for a network that rescales them itself."""
    model = maker(weights=None, input_shape=(32, 32, 3), classes=3, **options)
    x, kinds = size_data(seed, count=6)
    x = x.repeat(2, axis=1).repeat(2, axis=2)
    x = (x + 1) * 127.5 if pixels else x
    compile_model(model, "sparse_categorical_crossentropy", rate=1e-3)
    return Program(model, [(x, kinds)], steps)


def mobilenet_v2(seed: int) -> Program:
    return _program(keras.applications.MobileNetV2, seed, alpha=0.35)


def mobilenet_v3_small(seed: int) -> Program:
    return _program(keras.applications.MobileNetV3Small, seed, include_preprocessing=False)


def efficientnet_b0(seed: int) -> Program:
    return _program(keras.applications.EfficientNetB0, seed, pixels=True, steps=0)


def mobilenet(seed: int) -> Program:
    return _program(keras.applications.MobileNet, seed)


def mobilenet_v3_large(seed: int) -> Program:
    large = keras.applications.MobileNetV3Large
    return _program(large, seed, include_preprocessing=False, steps=0)


def densenet_of_eight(seed: int) -> Program:
    """DenseNet's blocks, eight of them."""

    def maker(**options: Any) -> Any:
        return DenseNet([2, 2, 2, 2], **options)

    return _program(maker, seed)


def efficientnet_v2_of_six(seed: int) -> Program:
    """The blocks of EfficientNetV2B0, each kind once: 6 in place of 21."""

    def maker(**options: Any) -> Any:
        return EfficientNetV2(1.0, 0.1, 32, name="efficientnetv2-b0", **options)

    return _program(maker, seed, pixels=True)


PROGRAMS = (
    mobilenet, mobilenet_v2, mobilenet_v3_small, mobilenet_v3_large, densenet_of_eight,
    efficientnet_b0, efficientnet_v2_of_six,
)  # fmt: skip
