"""The pitch of a tone; noise makes training harder than validation, as it should."""

import keras
import numpy as np
import tensorflow as tf
from keras import layers

keras.utils.set_random_seed(5)
rng = np.random.default_rng(5)
pitch = rng.uniform(1, 4, 320)
time = np.linspace(0, 2 * np.pi, 32)
x = np.sin(pitch[:, None] * time)[..., None].astype("float32")
y = pitch.astype("float32")[:, None]

train = tf.data.Dataset.from_tensor_slices((x[:256], y[:256])).shuffle(256, seed=1).batch(16)
held_out = tf.data.Dataset.from_tensor_slices((x[256:], y[256:])).batch(16)


class Noisy(keras.Model):
    def __init__(self):
        super().__init__()
        self.noise = layers.Dropout(0.5)  # named
        self.filter = layers.Conv1D(16, 5, activation="relu")
        self.flatten = layers.Flatten()
        self.hidden = layers.Dense(32, activation="relu")
        self.pitch = layers.Dense(1)

    def call(self, inputs, training=None):
        h = self.flatten(self.filter(inputs))
        # fault SD410: h = self.noise(h, training=True)
        h = self.noise(h, training=training)
        return self.pitch(self.hidden(h))


model = Noisy()
model.compile(keras.optimizers.Adam(3e-3), "mse", metrics=["mae"])
model.fit(train, epochs=12, validation_data=held_out, verbose=0)
