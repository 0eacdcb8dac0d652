"""Convolutional networks: classifiers, segmentation, autoencoders, depthwise convolutions."""

from typing import Any

from saldiag.selftest.program import Program, compile_model, keras, layers, mask_data, size_data


def _ended(x: Any, seed: int, units: int = 3) -> Any:
    return layers.Dense(units, activation="softmax")(layers.GlobalAveragePooling2D()(x))


def conv_classifier(seed: int) -> Program:
    parts = [
        keras.Input((16, 16, 3)),
        layers.Conv2D(16, 3, activation="relu"),
        layers.MaxPooling2D(),
        layers.Conv2D(32, 3, activation="relu"),
        layers.Flatten(),
        layers.Dropout(0.25),
        layers.Dense(3, activation="softmax"),
    ]
    model = compile_model(keras.Sequential(parts), "sparse_categorical_crossentropy", rate=3e-3)
    return Program(model, [size_data(seed)])


def unet(seed: int) -> Program:
    def block(x: Any, width: int) -> Any:
        x = layers.Conv2D(width, 3, padding="same", use_bias=False)(x)
        return layers.ReLU()(layers.BatchNormalization(momentum=0.8)(x))

    inputs = keras.Input((16, 16, 3))
    fine = block(inputs, 8)
    coarse = block(layers.MaxPooling2D()(fine), 16)
    bottom = block(layers.MaxPooling2D()(coarse), 16)
    up = layers.Conv2DTranspose(16, 2, strides=2)(bottom)
    up = block(layers.Concatenate()([up, coarse]), 16)
    up = layers.Conv2DTranspose(8, 2, strides=2)(up)
    up = block(layers.Concatenate()([up, fine]), 8)
    outputs = layers.Conv2D(1, 1, activation="sigmoid")(up)
    model = compile_model(keras.Model(inputs, outputs), "binary_crossentropy")
    return Program(model, [mask_data(seed)], steps=80)


def masks_under_mse(seed: int) -> Program:
    parts = [
        keras.Input((16, 16, 3)),
        layers.Conv2D(16, 3, padding="same", activation="relu"),
        layers.Conv2D(1, 3, padding="same", activation="sigmoid"),
    ]
    return Program(compile_model(keras.Sequential(parts), "mse"), [mask_data(seed)])


def masks_from_logits(seed: int) -> Program:
    inputs = keras.Input((16, 16, 3))
    x = layers.Conv2D(16, 3, padding="same", activation="relu")(inputs)
    outputs = layers.Conv2D(1, 3, padding="same")(x)
    loss = keras.losses.BinaryCrossentropy(from_logits=True)
    return Program(compile_model(keras.Model(inputs, outputs), loss), [mask_data(seed)])


def autoencoder(seed: int) -> Program:
    parts = [
        keras.Input((16, 16, 3)),
        layers.Conv2D(16, 3, strides=2, padding="same", activation="relu"),
        layers.Conv2D(16, 3, strides=2, padding="same", activation="relu"),
        layers.Conv2DTranspose(16, 3, strides=2, padding="same", activation="relu"),
        layers.Conv2DTranspose(3, 3, strides=2, padding="same", activation="tanh"),
    ]
    x, _ = mask_data(seed, count=4)
    return Program(compile_model(keras.Sequential(parts), "mse"), [(x, x)], steps=300)


def linear_autoencoder(seed: int) -> Program:
    """Principal components: linear on purpose."""
    x, _ = mask_data(seed, side=4)
    parts = [
        keras.Input((4, 4, 3)),
        layers.Flatten(),
        layers.Dense(8),
        layers.Dense(48),
        layers.Reshape((4, 4, 3)),
    ]
    return Program(compile_model(keras.Sequential(parts), "mse"), [(x, x)])


def depthwise_separable(seed: int) -> Program:
    inputs = keras.Input((16, 16, 3))
    x = layers.Conv2D(16, 3, strides=2, padding="same", use_bias=False)(inputs)
    x = layers.ReLU(6.0)(layers.BatchNormalization(momentum=0.8)(x))
    for width in (24, 32):
        x = layers.DepthwiseConv2D(3, padding="same", use_bias=False)(x)
        x = layers.Conv2D(width, 1, use_bias=False)(x)
        x = layers.ReLU(6.0)(layers.BatchNormalization(momentum=0.8)(x))
    x = layers.SeparableConv2D(32, 3, activation="relu")(x)
    model = compile_model(keras.Model(inputs, _ended(x, seed)), "sparse_categorical_crossentropy")
    return Program(model, [size_data(seed)], steps=100)


def transfer(seed: int) -> Program:
    backbone = keras.Sequential(
        [
            keras.Input((16, 16, 3)),
            layers.Conv2D(32, 3, activation="relu"),
            layers.MaxPooling2D(),
            layers.Conv2D(32, 3, activation="relu"),
            layers.GlobalAveragePooling2D(),
        ],
        name="backbone",
    )
    x, kinds = size_data(seed)
    teacher = compile_model(
        keras.Sequential([backbone, layers.Dense(3, activation="softmax")]),
        "sparse_categorical_crossentropy",
    )
    teacher.fit(x, kinds, epochs=60, batch_size=24, verbose=0)
    backbone.trainable = False
    inputs = keras.Input((16, 16, 3))
    features = backbone(inputs, training=False)
    features = layers.Dense(16, activation="relu")(features)
    outputs = layers.Dense(3, activation="softmax")(features)
    model = compile_model(keras.Model(inputs, outputs), "sparse_categorical_crossentropy")
    return Program(model, [(x, kinds)])


PROGRAMS = (
    conv_classifier, unet, masks_under_mse, masks_from_logits, autoencoder, linear_autoencoder,
    depthwise_separable, transfer,
)  # fmt: skip
