"""Maps of one place that are no bottleneck: there is a way around them, or they are a code."""

from __future__ import annotations

from typing import Any

from saldiag.selftest.program import Program, compile_model, keras, layers, mask_data, np


def _conv(x: Any, width: int, **options: Any) -> Any:
    return layers.Conv2D(width, 3, padding="same", activation="relu", **options)(x)


def _mask(inputs: Any, x: Any, seed: int) -> Program:
    outputs = layers.Conv2D(1, 1, activation="sigmoid")(x)
    model = compile_model(keras.Model(inputs, outputs), "binary_crossentropy")
    return Program(model, [mask_data(seed)], steps=80)


def unet_down_to_one_place(seed: int) -> Program:
    x = inputs = keras.Input((16, 16, 3))
    skips = []
    for width in (8, 12, 16, 16):
        skips.append(_conv(x, width))
        x = layers.MaxPooling2D()(skips[-1])
    x = _conv(x, 16)
    for width, skip in zip((16, 16, 12, 8), reversed(skips), strict=True):
        x = layers.Concatenate()([layers.UpSampling2D()(x), skip])
        x = _conv(x, width)
    return _mask(inputs, x, seed)


def gates_of_channels(seed: int) -> Program:
    """Squeeze and excitation."""
    inputs = keras.Input((16, 16, 3))
    x = _conv(inputs, 16)
    gate = layers.GlobalAveragePooling2D(keepdims=True)(x)
    gate = layers.Dense(8, activation="silu")(gate)
    gate = layers.Dense(16, activation="sigmoid")(gate)
    return _mask(inputs, _conv(layers.Multiply()([x, gate]), 16), seed)


def picture_pooled_beside(seed: int) -> Program:
    """A branch that sees the whole picture, beside one that keeps places (DeepLab)."""
    inputs = keras.Input((16, 16, 3))
    x = _conv(inputs, 16)
    whole = layers.Conv2D(8, 1, activation="relu")(layers.AveragePooling2D(16)(x))
    whole = layers.UpSampling2D(16, interpolation="bilinear")(whole)
    near = _conv(x, 8, dilation_rate=2)
    return _mask(inputs, _conv(layers.Concatenate()([whole, near]), 16), seed)


def autoencoder_of_masks(seed: int) -> Program:
    """Its code has one place; input and target are the same."""
    _, masks = mask_data(seed, count=8, side=8)
    parts = [
        keras.Input((8, 8, 1)),
        layers.Conv2D(16, 3, strides=2, padding="same", activation="relu"),
        layers.Conv2D(24, 3, strides=2, padding="same", activation="relu"),
        layers.Conv2D(24, 3, strides=2, padding="same", activation="relu"),
        layers.Conv2DTranspose(16, 4, activation="relu"),
        layers.Conv2DTranspose(16, 3, strides=2, padding="same", activation="relu"),
        layers.Conv2D(1, 3, padding="same", activation="sigmoid"),
    ]
    model = compile_model(keras.Sequential(parts), "binary_crossentropy")
    return Program(model, [(masks, masks)], steps=200)


def tiles_of_a_picture(seed: int) -> Program:
    """Each tile of 4x4 is pooled to one place; the tiles lie in the batch meanwhile."""

    def apart(x: Any) -> Any:
        x = keras.ops.reshape(x, (-1, 4, 4, 4, 4, 3))
        return keras.ops.reshape(keras.ops.transpose(x, (0, 1, 3, 2, 4, 5)), (-1, 4, 4, 3))

    def together(x: Any) -> Any:
        x = keras.ops.reshape(x, (-1, 4, 4, 4, 4, 1))
        return keras.ops.reshape(keras.ops.transpose(x, (0, 1, 3, 2, 4, 5)), (-1, 16, 16, 1))

    inputs = keras.Input((16, 16, 3))
    x = _conv(apart(inputs), 16)
    x = layers.GlobalAveragePooling2D()(_conv(x, 24))
    outputs = together(layers.Dense(16, activation="sigmoid")(x))
    x, masks = mask_data(seed)
    masks = np.repeat(np.repeat(masks[:, ::4, ::4], 4, axis=1), 4, axis=2)
    model = compile_model(keras.Model(inputs, outputs), "binary_crossentropy")
    return Program(model, [(x, masks)], steps=120)


def last_convolution_on_one_place(seed: int) -> Program:
    """A classifier made for larger pictures: worth a note, and no more."""
    x, _ = mask_data(seed)
    kinds = np.arange(len(x)) % 2
    x[kinds == 1, :4] += 0.5
    made = inputs = keras.Input((16, 16, 3))
    for width in (12, 16, 24, 24, 24):
        made = _conv(made, width, strides=2)
    made = layers.GlobalAveragePooling2D()(made)
    outputs = layers.Dense(2, activation="softmax")(made)
    model = compile_model(
        keras.Model(inputs, outputs), "sparse_categorical_crossentropy", rate=3e-3
    )
    return Program(model, [(np.clip(x, -1, 1), kinds)])


PROGRAMS = (
    unet_down_to_one_place, gates_of_channels, picture_pooled_beside, autoencoder_of_masks,
    tiles_of_a_picture, last_convolution_on_one_place,
)  # fmt: skip
