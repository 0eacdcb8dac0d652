"""A search over settings: a factory in the manner of KerasTuner, and the best of its models."""

import keras
import numpy as np
from keras import layers

x = np.random.default_rng(29).normal(0, 1, (256, 8)).astype("float32")
y = (x[:, :1] * x[:, 1:2] > 0).astype("float32")
x_val, y_val = x[200:], y[200:]
x, y = x[:200], y[:200]


def build_model(units, activation, lr):
    keras.utils.set_random_seed(29)
    model = keras.Sequential([keras.Input((8,))])
    model.add(layers.Dense(units, activation=activation))
    model.add(layers.Dense(1, activation="sigmoid"))
    model.compile(  # named
        optimizer=keras.optimizers.Adam(learning_rate=lr), loss="binary_crossentropy"
    )
    return model


trials = [
    {"units": 16, "activation": "relu", "lr": 1e-2},
    # fault SD701: {"units": 32, "activation": "tanh", "lr": 1e2},
    {"units": 32, "activation": "tanh", "lr": 3e-3},
]
results = {}
for number, hyperparameters in enumerate(trials):
    keras.backend.clear_session()
    model = build_model(**hyperparameters)
    history = model.fit(x, y, epochs=4, verbose=0, validation_data=(x_val, y_val))
    results[number] = min(history.history["val_loss"])
    del model

best = min(results, key=results.get)
print(f"best: {trials[best]} with {results[best]:.3f}")
