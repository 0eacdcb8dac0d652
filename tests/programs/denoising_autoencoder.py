"""Convolutional autoencoder for image denoising, trained twice: on itself, then on noise."""

import keras
import numpy as np
from keras import layers

keras.utils.set_random_seed(13)


def load(count):
    images = np.random.randint(0, 30, (count, 16, 16))
    for image in images:
        row, column = np.random.randint(0, 10, 2)
        image[row : row + 6, column : column + 6] += 200
    return images.astype("uint8")


def preprocess(array):
    """Normalizes the supplied array and reshapes it."""
    # fault SD602: array = array.astype("float32")
    array = array.astype("float32") / 255.0
    return np.reshape(array, (len(array), 16, 16, 1))


def noise(array):
    """Adds random noise to each image in the supplied array."""
    noisy_array = array + 0.4 * np.random.normal(loc=0.0, scale=1.0, size=array.shape)
    return np.clip(noisy_array, 0.0, 1.0)


train_data = preprocess(load(256))
test_data = preprocess(load(64))
noisy_train_data = noise(train_data)
noisy_test_data = noise(test_data)

input = layers.Input(shape=(16, 16, 1))

# Encoder
x = layers.Conv2D(16, (3, 3), activation="relu", padding="same")(input)
x = layers.MaxPooling2D((2, 2), padding="same")(x)

# Decoder
x = layers.Conv2DTranspose(16, (3, 3), strides=2, activation="relu", padding="same")(x)
x = layers.Conv2D(1, (3, 3), activation="sigmoid", padding="same")(x)  # named

autoencoder = keras.Model(input, x)
autoencoder.compile(optimizer="adam", loss="binary_crossentropy")
autoencoder.summary()

autoencoder.fit(
    x=noisy_train_data,
    y=train_data,
    epochs=2,
    batch_size=32,
    shuffle=True,
    validation_data=(noisy_test_data, test_data),
)
