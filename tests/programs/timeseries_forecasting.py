"""Weather forecasting with an LSTM on sliding windows of a table of measurements."""

import keras
import numpy as np
import pandas as pd

keras.utils.set_random_seed(8)
steps = np.arange(1200)
day = 2 * np.pi * steps / 24
df = pd.DataFrame(
    {
        "p (mbar)": 990 + 8 * np.sin(day / 7) + np.random.normal(0, 0.5, len(steps)),
        "T (degC)": 9 + 8 * np.sin(day) + np.random.normal(0, 0.5, len(steps)),
        "VPmax (mbar)": 14 + 7 * np.sin(day + 0.3) + np.random.normal(0, 0.5, len(steps)),
    }
)

split_fraction = 0.8
train_split = int(split_fraction * len(df))
past, future, batch_size = 24, 6, 32


def normalize(data, train_split):
    data_mean = data[:train_split].mean(axis=0)
    data_std = data[:train_split].std(axis=0)
    return (data - data_mean) / data_std


# fault SD601: features = df.values
features = normalize(df.values, train_split)
target = normalize(df.values, train_split)[:, 1:2]

dataset_train = keras.utils.timeseries_dataset_from_array(
    features[: train_split - past - future],
    target[past + future : train_split],
    sequence_length=past,
    batch_size=batch_size,
    shuffle=True,
)
dataset_val = keras.utils.timeseries_dataset_from_array(
    features[train_split:-future],
    target[train_split + past + future :],
    sequence_length=past,
    batch_size=batch_size,
)

for batch in dataset_train.take(1):
    inputs, targets = batch
print("Input shape:", inputs.numpy().shape)
print("Target shape:", targets.numpy().shape)

inputs = keras.layers.Input(shape=(inputs.shape[1], inputs.shape[2]))
lstm_out = keras.layers.LSTM(16)(inputs)
outputs = keras.layers.Dense(1)(lstm_out)
model = keras.Model(inputs=inputs, outputs=outputs)
model.compile(optimizer=keras.optimizers.Adam(learning_rate=0.003), loss="mse")

es_callback = keras.callbacks.EarlyStopping(monitor="val_loss", min_delta=0, patience=5)
history = model.fit(  # named
    dataset_train,
    epochs=3,
    validation_data=dataset_val,
    callbacks=[es_callback],
)
