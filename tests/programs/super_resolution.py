"""Image super-resolution with an efficient sub-pixel CNN and a callback that shows the PSNR."""

import math

import keras
import numpy as np
import tensorflow as tf
from keras import layers, ops

keras.utils.set_random_seed(24)
upscale_factor, crop_size, batch_size = 2, 24, 4
input_size = crop_size // upscale_factor

rows, columns = np.mgrid[:crop_size, :crop_size]
phases = np.random.uniform(0.2, 0.8, (96, 2, 1, 1))
pictures = (0.5 + 0.4 * np.sin(phases[:, 0] * rows + phases[:, 1] * columns)) * 255
train_ds = tf.data.Dataset.from_tensor_slices(pictures[..., None].astype("float32"))
train_ds = train_ds.batch(batch_size)


def scaling(input_image):
    return input_image / 255.0


def process_input(input):
    return tf.image.resize(input, [input_size, input_size], method="area")


train_ds = train_ds.map(scaling)
train_ds = train_ds.map(lambda x: (process_input(x), x)).prefetch(buffer_size=32)


class DepthToSpace(layers.Layer):
    def __init__(self, block_size):
        super().__init__()
        self.block_size = block_size

    def call(self, input):
        batch, height, width, depth = ops.shape(input)
        depth = depth // (self.block_size**2)
        x = ops.reshape(input, [batch, height, width, self.block_size, self.block_size, depth])
        x = ops.transpose(x, [0, 1, 3, 2, 4, 5])
        return ops.reshape(x, [batch, height * self.block_size, width * self.block_size, depth])


def get_model(upscale_factor=2, channels=1):
    conv_args = {"activation": "relu", "kernel_initializer": "orthogonal", "padding": "same"}
    inputs = keras.Input(shape=(None, None, channels))
    x = layers.Conv2D(16, 5, **conv_args)(inputs)
    x = layers.Conv2D(16, 3, **conv_args)(x)
    x = layers.Conv2D(8, 3, **conv_args)(x)
    x = layers.Conv2D(channels * (upscale_factor**2), 3, **conv_args)(x)
    outputs = DepthToSpace(upscale_factor)(x)
    return keras.Model(inputs, outputs)


class PSNRCallback(keras.callbacks.Callback):
    def on_epoch_begin(self, epoch, logs=None):
        self.psnr = []

    def on_epoch_end(self, epoch, logs=None):
        print(f"Mean PSNR for epoch: {np.mean(self.psnr):.2f}")

    def on_train_batch_end(self, batch, logs=None):
        self.psnr.append(10 * math.log10(1 / logs["loss"]))


model = get_model(upscale_factor=upscale_factor, channels=1)
model.summary()
# fault SD207: optimizer = keras.optimizers.SGD(learning_rate=0.5, clipnorm=1e-7)
optimizer = keras.optimizers.SGD(learning_rate=0.5, clipnorm=1.0)
model.compile(optimizer=optimizer, loss="mean_squared_error")  # named
model.fit(train_ds, epochs=3, callbacks=[PSNRCallback()], verbose=2)
