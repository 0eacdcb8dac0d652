"""Image segmentation with a U-Net-like architecture, read by a generator of file-like arrays."""

import keras
import numpy as np
import tensorflow as tf
from keras import layers

keras.utils.set_random_seed(3)
img_size = (32, 32)
num_classes = 3


def get_dataset(count, batch_size):
    """A disc on a noisy ground; its rim is class 2, as in the pets' trimaps 1, 2, 3."""
    rows, columns = np.mgrid[: img_size[0], : img_size[1]]
    images, masks = [], []
    for _ in range(count):
        cy, cx = np.random.randint(10, 22, 2)
        distance = np.hypot(rows - cy, columns - cx)
        trimap = np.where(distance < 6, 1, np.where(distance < 8, 3, 2)).astype("uint8")
        image = np.random.normal(0.4, 0.1, (*img_size, 3)) + 0.3 * (trimap == 1)[..., None]
        images.append(image.astype("float32"))
        # Ground truth labels are 1, 2, 3. Subtract one to make them 0, 1, 2:
        masks.append(trimap[..., None] - 1)
    dataset = tf.data.Dataset.from_tensor_slices((np.stack(images), np.stack(masks)))
    return dataset.batch(batch_size)


def get_model(img_size, num_classes):
    inputs = keras.Input(shape=(*img_size, 3))

    x = layers.Conv2D(8, 3, strides=2, padding="same")(inputs)
    x = layers.BatchNormalization()(x)
    x = layers.Activation("relu")(x)
    previous_block_activation = x

    for filters in [16]:
        x = layers.Activation("relu")(x)
        x = layers.SeparableConv2D(filters, 3, padding="same")(x)
        x = layers.BatchNormalization()(x)
        x = layers.MaxPooling2D(3, strides=2, padding="same")(x)
        residual = layers.Conv2D(filters, 1, strides=2, padding="same")(previous_block_activation)
        x = layers.add([x, residual])
        previous_block_activation = x

    for filters in [16, 8]:
        x = layers.Activation("relu")(x)
        x = layers.Conv2DTranspose(filters, 3, padding="same")(x)
        x = layers.BatchNormalization()(x)
        x = layers.UpSampling2D(2)(x)
        residual = layers.UpSampling2D(2)(previous_block_activation)
        residual = layers.Conv2D(filters, 1, padding="same")(residual)
        x = layers.add([x, residual])
        previous_block_activation = x

    # fault SD107: outputs = layers.Conv2D(num_classes, 3, activation="relu", padding="same")(x)
    outputs = layers.Conv2D(num_classes, 3, activation="softmax", padding="same")(x)
    return keras.Model(inputs, outputs)


train_dataset = get_dataset(96, 8)
valid_dataset = get_dataset(16, 8)
model = get_model(img_size, num_classes)
model.summary()

# We use the "sparse" version of categorical_crossentropy because our target data is integers.
model.compile(optimizer=keras.optimizers.Adam(1e-3), loss="sparse_categorical_crossentropy")
model.fit(train_dataset, epochs=2, validation_data=valid_dataset, verbose=2)
