"""Where is the brightest quarter? BatchNorm over twelve steps an epoch, validated after each."""

import keras
import numpy as np
from keras import layers

keras.utils.set_random_seed(1)
rng = np.random.default_rng(0)
x = rng.uniform(0, 1, (240, 16, 16, 1)).astype("float32")
y = x.reshape(240, 2, 8, 2, 8).mean((2, 4)).reshape(240, 4).argmax(1)

inputs = keras.Input((16, 16, 1))
h = layers.Conv2D(16, 3, padding="same", use_bias=False)(inputs)
# fault SD802: h = layers.BatchNormalization()(h)
h = layers.BatchNormalization(momentum=0.8)(h)
h = layers.ReLU()(h)
h = layers.DepthwiseConv2D(3, padding="same", use_bias=False)(h)
h = layers.BatchNormalization(momentum=0.8)(h)
h = layers.ReLU()(h)
h = layers.Flatten()(layers.AveragePooling2D(4)(h))
model = keras.Model(inputs, layers.Dense(4, activation="softmax")(h))
model.compile(
    optimizer=keras.optimizers.Adam(3e-3),
    loss="sparse_categorical_crossentropy",
    metrics=["accuracy"],
)
model.fit(x[:192], y[:192], batch_size=16, epochs=12, validation_data=(x[192:], y[192:]), verbose=2)
