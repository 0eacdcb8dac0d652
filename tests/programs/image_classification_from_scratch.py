"""Image classification from scratch: a small Xception, with augmentation inside of the pipeline."""

import keras
import numpy as np
import tensorflow as tf
from keras import layers

keras.utils.set_random_seed(1337)
image_size = (32, 32)
batch_size = 16


def make_pictures(count):
    """Cats have a bright upper half, dogs a bright lower half."""
    labels = np.random.randint(0, 2, count)
    images = np.random.randint(0, 200, (count, *image_size, 3)).astype("float32")
    for image, label in zip(images, labels):
        image[16:] += 55 * label
        image[:16] += 55 * (1 - label)
    # fault SD612: return images / 255, labels.astype("float32")
    return images, labels.astype("float32")


train_ds = tf.data.Dataset.from_tensor_slices(make_pictures(128)).shuffle(128).batch(batch_size)
val_ds = tf.data.Dataset.from_tensor_slices(make_pictures(32)).batch(batch_size)

data_augmentation_layers = [layers.RandomFlip("horizontal"), layers.RandomRotation(0.02)]


def data_augmentation(images):
    for layer in data_augmentation_layers:
        images = layer(images)
    return images


train_ds = train_ds.map(
    lambda img, label: (data_augmentation(img), label), num_parallel_calls=tf.data.AUTOTUNE
)
train_ds = train_ds.prefetch(tf.data.AUTOTUNE)
val_ds = val_ds.prefetch(tf.data.AUTOTUNE)


def make_model(input_shape, num_classes):
    inputs = keras.Input(shape=input_shape)

    # Entry block
    x = layers.Rescaling(1.0 / 255)(inputs)  # named
    x = layers.Conv2D(16, 3, strides=2, padding="same")(x)
    x = layers.BatchNormalization()(x)
    x = layers.Activation("relu")(x)

    previous_block_activation = x  # Set aside residual

    for size in [24]:
        x = layers.Activation("relu")(x)
        x = layers.SeparableConv2D(size, 3, padding="same")(x)
        x = layers.BatchNormalization()(x)

        x = layers.Activation("relu")(x)
        x = layers.SeparableConv2D(size, 3, padding="same")(x)
        x = layers.BatchNormalization()(x)

        x = layers.MaxPooling2D(3, strides=2, padding="same")(x)

        # Project residual
        residual = layers.Conv2D(size, 1, strides=2, padding="same")(previous_block_activation)
        x = layers.add([x, residual])  # Add back residual
        previous_block_activation = x  # Set aside next residual

    x = layers.GlobalAveragePooling2D()(x)
    units = 1 if num_classes == 2 else num_classes

    x = layers.Dropout(0.25)(x)
    outputs = layers.Dense(units, activation="sigmoid")(x)
    return keras.Model(inputs, outputs)


model = make_model(input_shape=(*image_size, 3), num_classes=2)
model.compile(
    optimizer=keras.optimizers.Adam(3e-4),
    loss=keras.losses.BinaryCrossentropy(),
    metrics=[keras.metrics.BinaryAccuracy(name="acc")],
)
model.fit(train_ds, epochs=2, validation_data=val_ds, verbose=2)
