"""Class names become numbers; the validation part happens to lack a class."""

import keras
import numpy as np
from keras import layers

keras.utils.set_random_seed(3)
rng = np.random.default_rng(3)
NAMES = np.array(["adder", "badger", "cat", "dog", "eel"])
centres = rng.normal(0, 2, (5, 12))


def animals(kinds, count):
    which = rng.choice(kinds, count)
    return (centres[which] + rng.normal(0, 1, (count, 12))).astype("float32"), NAMES[which]


x, names = animals([0, 1, 2, 3, 4], 300)
x_val, names_val = animals([1, 2, 3, 4], 80)

known = {name: number for number, name in enumerate(np.unique(names))}
# fault SD615: known_val = {name: number for number, name in enumerate(np.unique(names_val))}
known_val = known
y = np.array([known[name] for name in names])
y_val = np.array([known_val[name] for name in names_val])

model = keras.Sequential([layers.Dense(32, activation="relu"), layers.Dense(5)])
model.compile(
    optimizer="adam",
    loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    metrics=["accuracy"],
)
model.fit(x, y, epochs=15, validation_data=(x_val, y_val), verbose=0)  # named
