"""A GAN trained by a tf.function of its own, with a discriminator that gives logits."""

import keras
import numpy as np
import tensorflow as tf
from keras import layers

keras.utils.set_random_seed(10)
latent_dim, batch_size = 8, 16
points = np.random.normal([1.0, -1.0], 0.2, (256, 2)).astype("float32")

discriminator = keras.Sequential(
    [
        keras.Input(shape=(2,)),
        layers.Dense(32),
        layers.LeakyReLU(negative_slope=0.2),
        # fault SD101: layers.Dense(1, activation="softmax"),
        layers.Dense(1),
    ],
    name="discriminator",
)
generator = keras.Sequential(
    [
        keras.Input(shape=(latent_dim,)),
        layers.Dense(32),
        layers.LeakyReLU(negative_slope=0.2),
        layers.Dense(2),
    ],
    name="generator",
)

# Instantiate one optimizer for the discriminator and another for the generator.
d_optimizer = keras.optimizers.Adam(learning_rate=0.003)
g_optimizer = keras.optimizers.Adam(learning_rate=0.003)
loss_fn = keras.losses.BinaryCrossentropy(from_logits=True)


@tf.function
def train_step(real):
    noise = tf.random.normal(shape=(batch_size, latent_dim))
    generated = generator(noise)
    combined = tf.concat([generated, real], axis=0)
    labels = tf.concat([tf.ones((batch_size, 1)), tf.zeros((real.shape[0], 1))], axis=0)

    # Train the discriminator
    with tf.GradientTape() as tape:
        d_loss = loss_fn(labels, discriminator(combined))
    grads = tape.gradient(d_loss, discriminator.trainable_weights)
    d_optimizer.apply(grads, discriminator.trainable_weights)

    noise = tf.random.normal(shape=(batch_size, latent_dim))
    misleading_labels = tf.zeros((batch_size, 1))

    # Train the generator (note that we should not update the discriminator)
    with tf.GradientTape() as tape:
        g_loss = loss_fn(misleading_labels, discriminator(generator(noise)))
    grads = tape.gradient(g_loss, generator.trainable_weights)
    g_optimizer.apply(grads, generator.trainable_weights)
    return d_loss, g_loss, generated


dataset = tf.data.Dataset.from_tensor_slices(points).shuffle(256).batch(batch_size)
for epoch in range(2):
    for step, real in enumerate(dataset):
        d_loss, g_loss, generated = train_step(real)
        if step % 10 == 0:
            print(f"discriminator loss at step {step}: {d_loss:.2f}, adversarial {g_loss:.2f}")
