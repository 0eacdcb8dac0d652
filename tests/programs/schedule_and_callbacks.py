"""A learning rate schedule, early stopping and checkpoints in a temporary folder."""

import os
import tempfile

import keras
import numpy as np
from keras import layers

keras.utils.set_random_seed(28)
x = np.random.uniform(-1, 1, (256, 8)).astype("float32")
y = np.sin(3 * x[:, :1]) + x[:, 1:2] ** 2

batch_size, epochs = 32, 4
steps_per_epoch = len(x) // batch_size

lr_schedule = keras.optimizers.schedules.ExponentialDecay(
    initial_learning_rate=1e-2,
    # fault SD706: decay_steps=1,
    decay_steps=steps_per_epoch,
    decay_rate=0.5,
    staircase=True,
)
model = keras.Sequential(
    [
        keras.Input((8,)),
        layers.Dense(32, activation="relu"),
        layers.Dense(32, activation="relu"),
        layers.Dense(1),
    ]
)
model.compile(optimizer=keras.optimizers.Adam(lr_schedule), loss="mse", metrics=["mae"])  # named

with tempfile.TemporaryDirectory() as folder:
    checkpoint = os.path.join(folder, "best.weights.h5")
    model.fit(
        x,
        y,
        batch_size=batch_size,
        epochs=epochs,
        validation_data=(x[:32] + 0.01, y[:32]),
        callbacks=[
            keras.callbacks.EarlyStopping(monitor="val_loss", patience=3),
            keras.callbacks.ModelCheckpoint(
                checkpoint, save_best_only=True, save_weights_only=True
            ),
            keras.callbacks.CSVLogger(os.path.join(folder, "log.csv")),
            keras.callbacks.TerminateOnNaN(),
        ],
    )
    model.load_weights(checkpoint)
print(model.evaluate(x, y, verbose=0))
