"""The mixed precision guide: float16 inside, float32 at the end."""

import keras
import numpy as np
from keras import layers, mixed_precision

keras.utils.set_random_seed(27)
policy = mixed_precision.Policy("mixed_float16")
mixed_precision.set_global_policy(policy)
print("Compute dtype: %s" % policy.compute_dtype)
print("Variable dtype: %s" % policy.variable_dtype)

y_train = np.random.randint(0, 6, 256)
x_train = np.random.uniform(0, 0.5, (256, 64)).astype("float32")
x_train[np.arange(256), y_train] += 1

inputs = keras.Input(shape=(64,), name="digits")
x = layers.Dense(64, activation="relu", name="dense_1")(inputs)
x = layers.Dense(64, activation="relu", name="dense_2")(x)
x = layers.Dense(6, name="dense_logits")(x)
# 'softmax' should be done in float32 for numeric stability
# fault SD501: outputs = layers.Activation("softmax", name="predictions")(x)
outputs = layers.Activation("softmax", dtype="float32", name="predictions")(x)
print("Outputs dtype: %s" % outputs.dtype)

model = keras.Model(inputs=inputs, outputs=outputs)
model.compile(
    loss="sparse_categorical_crossentropy",
    optimizer=keras.optimizers.RMSprop(),
    metrics=["accuracy"],
)
history = model.fit(x_train, y_train, batch_size=32, epochs=2, validation_split=0.2)
