"""Fine-tuning: train the head first, then unfreeze the whole model and go on at a low rate."""

import keras
import numpy as np
from keras import layers

keras.utils.set_random_seed(5)
x = np.random.normal(0, 1, (192, 20)).astype("float32")
coarse = (x[:, :10].sum(axis=1) > 0).astype("float32")
fine = (x[:, :10].sum(axis=1) > x[:, 10:].sum(axis=1)).astype("float32")

encoder = keras.Sequential(
    [keras.Input((20,)), layers.Dense(32, activation="relu"), layers.Dense(16, activation="relu")],
    name="encoder",
)
pretrained = keras.Sequential([encoder, layers.Dense(1, activation="sigmoid")])
pretrained.compile(optimizer="adam", loss="binary_crossentropy")
pretrained.fit(x, coarse, epochs=4, verbose=0)

encoder.trainable = False
model = keras.Sequential([encoder, layers.Dense(1, activation="sigmoid")], name="fine")
model.compile(optimizer=keras.optimizers.Adam(1e-2), loss="binary_crossentropy")  # named
model.fit(x, fine, epochs=3, verbose=0)

# Unfreeze the encoder, and compile again so that the change takes effect.
encoder.trainable = True
# fault SD406:
model.compile(optimizer=keras.optimizers.Adam(1e-3), loss="binary_crossentropy")
model.fit(x, fine, epochs=3, validation_split=0.2)
