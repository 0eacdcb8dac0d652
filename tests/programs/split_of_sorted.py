"""Five kinds of flowers, one after the other in the table, and a fifth to validate with."""

import keras
import numpy as np
from keras import layers

keras.utils.set_random_seed(4)
rng = np.random.default_rng(4)
y = np.repeat(np.arange(5), 60)
x = (rng.normal(0, 2, (5, 8))[y] + rng.normal(0, 1, (300, 8))).astype("float32")

# fault SD616: order = np.arange(len(x))
order = rng.permutation(len(x))
x, y = x[order], keras.utils.to_categorical(y[order], 5)


class Classifier(keras.Model):
    def __init__(self):
        super().__init__()
        self.hidden = layers.Dense(32, activation="relu")
        self.drop = layers.Dropout(0.2)
        self.scores = layers.Dense(5, activation="softmax")

    def call(self, inputs, training=None):
        return self.scores(self.drop(self.hidden(inputs), training=training))


model = Classifier()
model.compile("adam", "categorical_crossentropy", metrics=["accuracy"])
model.fit(x, y, batch_size=16, epochs=10, validation_split=0.2, verbose=0)  # named
