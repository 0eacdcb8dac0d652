"""Networks of keras.applications with random weights: of at most 10 million parameters, 500 layers.

Of a family that grows beyond the bound the smaller members are here. NASNetMobile has 771 layers,
and takes longer than a tenth of all other programs together. The smallest of each family takes a
few steps; the others, which repeat its blocks, are looked at before the first step, for tracing
their training takes longer than all else.
"""

from typing import Any

from keras.src.applications.densenet import DenseNet  # with as many blocks as one asks for

from saldiag.selftest.program import Program, compiled, keras, sized


def _program(
    maker: Any, seed: int, *, pixels: bool = False, steps: int = 8, **options: Any
) -> Program:
    """Pictures in [-1, 1], or 0 … 255 for a network that rescales them itself."""
    model = maker(weights=None, input_shape=(32, 32, 3), classes=3, **options)
    x, kinds = sized(seed, count=6)
    x = x.repeat(2, axis=1).repeat(2, axis=2)
    x = (x + 1) * 127.5 if pixels else x
    compiled(model, "sparse_categorical_crossentropy", rate=1e-3)
    return Program(model, [(x, kinds)], steps)


def mobilenet_v2(seed: int) -> Program:
    return _program(keras.applications.MobileNetV2, seed, alpha=0.35)


def mobilenet_v3_small(seed: int) -> Program:
    return _program(keras.applications.MobileNetV3Small, seed, include_preprocessing=False)


def efficientnet_b0(seed: int) -> Program:
    return _program(keras.applications.EfficientNetB0, seed, pixels=True)


def efficientnet_b1(seed: int) -> Program:
    return _program(keras.applications.EfficientNetB1, seed, pixels=True, steps=0)


def efficientnet_b2(seed: int) -> Program:
    return _program(keras.applications.EfficientNetB2, seed, pixels=True, steps=0)


def efficientnet_v2_b0(seed: int) -> Program:
    return _program(keras.applications.EfficientNetV2B0, seed, pixels=True)


def efficientnet_v2_b1(seed: int) -> Program:
    return _program(keras.applications.EfficientNetV2B1, seed, pixels=True, steps=0)


def mobilenet(seed: int) -> Program:
    return _program(keras.applications.MobileNet, seed)


def mobilenet_v3_large(seed: int) -> Program:
    large = keras.applications.MobileNetV3Large
    return _program(large, seed, include_preprocessing=False, steps=0)


def densenet_121(seed: int) -> Program:
    return _program(keras.applications.DenseNet121, seed, steps=0)


def densenet_of_eight(seed: int) -> Program:
    """DenseNet's blocks, eight of them."""

    def maker(**options: Any) -> Any:
        return DenseNet([2, 2, 2, 2], **options)

    return _program(maker, seed)


PROGRAMS = (
    mobilenet, mobilenet_v2, mobilenet_v3_small, mobilenet_v3_large, densenet_121,
    densenet_of_eight,
    efficientnet_b0, efficientnet_b1, efficientnet_b2, efficientnet_v2_b0, efficientnet_v2_b1,
)  # fmt: skip
