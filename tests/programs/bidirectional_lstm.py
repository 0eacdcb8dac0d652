"""Bidirectional LSTM on reviews: words are numbers, sequences are padded."""

import keras
import numpy as np
from keras import layers

keras.utils.set_random_seed(0)
max_features = 200  # Only consider the top words
maxlen = 20  # Only consider the first 20 words of each review


def load_data(count):
    """Good reviews use words below 100 more often than the others."""
    labels = np.random.randint(0, 2, count)
    reviews = []
    for label in labels:
        low = np.random.rand(np.random.randint(8, 30)) < (0.8 if label else 0.2)
        reviews.append(list(np.where(low, *np.random.randint(1, 100, (2, len(low))) + [[0], [99]])))
    return reviews, labels


x_train, y_train = load_data(256)
x_val, y_val = load_data(64)
x_train = keras.utils.pad_sequences(x_train, maxlen=maxlen)
x_val = keras.utils.pad_sequences(x_val, maxlen=maxlen)

# Input for variable-length sequences of integers
inputs = keras.Input(shape=(None,), dtype="int32")
# Embed each integer in a 16-dimensional vector
x = layers.Embedding(max_features, 16)(inputs)
# Add a bidirectional LSTM
x = layers.Bidirectional(layers.LSTM(16))(x)
# Add a classifier
# fault SD107: outputs = layers.Dense(1, activation="tanh")(x)
outputs = layers.Dense(1, activation="sigmoid")(x)
model = keras.Model(inputs, outputs)
model.summary()

model.compile(optimizer="adam", loss="binary_crossentropy", metrics=["accuracy"])
model.fit(x_train, y_train, batch_size=32, epochs=2, validation_data=(x_val, y_val))
