"""How bright are the stripes? Training pictures are scaled; are validation pictures, too?"""

import keras
import numpy as np
from keras import layers

keras.utils.set_random_seed(2)
rng = np.random.default_rng(2)


def pictures(count):
    kinds = rng.integers(0, 3, count)
    stripes = np.sin(np.arange(16) + rng.uniform(0, 6, (count, 1)))[:, None, :, None]
    bright = 128 + (40 + 40 * kinds)[:, None, None, None] * stripes
    return np.clip(bright + rng.normal(0, 20, (count, 16, 16, 1)), 0, 255), kinds


x, y = pictures(320)
x_val, y_val = pictures(64)
x = x / 255
# fault SD614:
x_val = x_val / 255

model = keras.Sequential(
    [
        keras.Input((16, 16, 1)),
        layers.Conv2D(8, 3, activation="relu"),
        layers.MaxPooling2D(2),
        layers.Conv2D(8, 3, activation="relu"),
        layers.GlobalAveragePooling2D(),
        layers.Dense(16, activation="relu"),
        layers.Dense(3, activation="softmax"),
    ]
)
model.compile(keras.optimizers.Adam(5e-3), "sparse_categorical_crossentropy", metrics=["accuracy"])
stop = keras.callbacks.EarlyStopping("val_loss", patience=8, restore_best_weights=True)
model.fit(x, y, epochs=25, validation_data=(x_val, y_val), callbacks=[stop], verbose=0)  # named
