"""Time series classification from scratch: a fully convolutional network on engine noise."""

import keras
import numpy as np

rng = np.random.default_rng(1)
keras.utils.set_random_seed(1)


def readucr(count):
    """Labels are 1 and -1: there is a symptom, or there is none."""
    y = rng.choice([-1, 1], count)
    t = np.linspace(0, 6 * np.pi, 64)
    x = np.sin(t * np.where(y == 1, 1.0, 2.0)[:, None] + rng.uniform(0, 6, (count, 1)))
    x += rng.normal(0, 0.3, x.shape)
    return (x - x.mean()) / x.std(), y.astype(int)


x_train, y_train = readucr(256)
x_test, y_test = readucr(64)
x_train = x_train.reshape((x_train.shape[0], x_train.shape[1], 1))
x_test = x_test.reshape((x_test.shape[0], x_test.shape[1], 1))

idx = rng.permutation(len(x_train))
x_train = x_train[idx]
y_train = y_train[idx]

# Standardize the labels to positive integers. The expected labels will then be 0 and 1.
# fault SD602:
y_train[y_train == -1] = 0
y_test[y_test == -1] = 0


def make_model(input_shape):
    input_layer = keras.layers.Input(input_shape)

    conv1 = keras.layers.Conv1D(filters=16, kernel_size=3, padding="same")(input_layer)
    conv1 = keras.layers.BatchNormalization()(conv1)
    conv1 = keras.layers.ReLU()(conv1)

    conv2 = keras.layers.Conv1D(filters=16, kernel_size=3, padding="same")(conv1)
    conv2 = keras.layers.BatchNormalization()(conv2)
    conv2 = keras.layers.ReLU()(conv2)

    gap = keras.layers.GlobalAveragePooling1D()(conv2)
    output_layer = keras.layers.Dense(1, activation="sigmoid")(gap)  # named
    return keras.models.Model(inputs=input_layer, outputs=output_layer)


model = make_model(input_shape=x_train.shape[1:])
callbacks = [
    keras.callbacks.ModelCheckpoint("best_model.keras", save_best_only=True, monitor="val_loss"),
    keras.callbacks.ReduceLROnPlateau(monitor="val_loss", factor=0.5, patience=20, min_lr=0.0001),
    keras.callbacks.EarlyStopping(monitor="val_loss", patience=50, verbose=1),
]
model.compile(optimizer="adam", loss="binary_crossentropy", metrics=["accuracy"])
history = model.fit(
    x_train,
    y_train,
    batch_size=32,
    epochs=3,
    callbacks=callbacks,
    validation_split=0.2,
    verbose=0,
)

model = keras.models.load_model("best_model.keras")
test_loss, test_acc = model.evaluate(x_test, y_test)
