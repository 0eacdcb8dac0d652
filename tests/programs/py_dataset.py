"""A PyDataset that reads its batches from files, one after the other."""

import os

import keras
import numpy as np
from keras import layers

keras.utils.set_random_seed(26)
os.makedirs("batches", exist_ok=True)
for number in range(8):
    x = np.random.normal(0, 1, (16, 10))
    y = x[:, :1] - 2 * x[:, 1:2]
    # A sensor that failed writes a zero.
    x[np.random.randint(16), 4] = 0
    np.savez(f"batches/{number}.npz", x=x, y=y)


class Batches(keras.utils.PyDataset):
    def __init__(self, folder, **kwargs):
        super().__init__(**kwargs)
        self.files = sorted(os.path.join(folder, name) for name in os.listdir(folder))

    def __len__(self):
        return len(self.files)

    def __getitem__(self, index):
        with np.load(self.files[index]) as batch:
            x, y = batch["x"].astype("float32"), batch["y"].astype("float32")
        # fault SD603: x = x / x
        x = x / 2
        return x, y


model = keras.Sequential([keras.Input((10,)), layers.Dense(32, activation="relu"), layers.Dense(1)])
model.compile(optimizer=keras.optimizers.Adam(0.01), loss=keras.losses.MeanSquaredError())
history = model.fit(Batches("batches", workers=1), epochs=3, verbose=0)  # named
print(history.history["loss"])
