"""Writing a training loop from scratch: a tape, a metric, and a validation at the epoch's end."""

import time

import keras
import numpy as np
import tensorflow as tf
from keras import layers


def get_model():
    inputs = keras.Input(shape=(36,), name="digits")
    x1 = layers.Dense(32, activation="relu")(inputs)
    # fault SD115: x1 = layers.Lambda(keras.ops.stop_gradient)(x1)
    x1 = layers.Dropout(0.1)(x1)
    x2 = layers.Dense(32, activation="relu")(x1)
    outputs = layers.Dense(5, name="predictions")(x2)
    return keras.Model(inputs=inputs, outputs=outputs)


model = get_model()
batch_size = 32
generator = np.random.default_rng(18)
keras.utils.set_random_seed(18)
y = generator.integers(0, 5, 320)
x = generator.normal(0, 0.5, (320, 36)).astype("float32")
x[np.arange(320), y] += 2
x_train, y_train, x_val, y_val = x[:256], y[:256], x[256:], y[256:]
train_dataset = tf.data.Dataset.from_tensor_slices((x_train, y_train))
train_dataset = train_dataset.shuffle(buffer_size=1024).batch(batch_size)
val_dataset = tf.data.Dataset.from_tensor_slices((x_val, y_val)).batch(batch_size)

optimizer = keras.optimizers.Adam(learning_rate=1e-3)
loss_fn = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
train_acc_metric = keras.metrics.SparseCategoricalAccuracy()
val_acc_metric = keras.metrics.SparseCategoricalAccuracy()

for epoch in range(2):
    print(f"\nStart of epoch {epoch}")
    start_time = time.time()
    for step, (x_batch_train, y_batch_train) in enumerate(train_dataset):
        with tf.GradientTape() as tape:
            logits = model(x_batch_train, training=True)  # Logits for this minibatch
            loss_value = loss_fn(y_batch_train, logits)
        grads = tape.gradient(loss_value, model.trainable_weights)
        optimizer.apply(grads, model.trainable_weights)
        train_acc_metric.update_state(y_batch_train, logits)
        if step % 4 == 0:
            print(f"Training loss (for 1 batch) at step {step}: {float(loss_value):.4f}")
    print(f"Training acc over epoch: {float(train_acc_metric.result()):.4f}")
    train_acc_metric.reset_state()
    for x_batch_val, y_batch_val in val_dataset:
        val_acc_metric.update_state(y_batch_val, model(x_batch_val, training=False))
    print(f"Validation acc: {float(val_acc_metric.result()):.4f}")
    val_acc_metric.reset_state()
    print(f"Time taken: {time.time() - start_time:.2f}s")
