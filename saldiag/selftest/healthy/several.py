"""Several inputs, several outputs, layers that are shared, training steps of one's own."""

from typing import Any

import tensorflow as tf

from saldiag.selftest.program import (
    Program,
    binary_data,
    class_data,
    compile_model,
    keras,
    layers,
    np,
    regression_data,
)


def siamese(seed: int) -> Program:
    random = np.random.default_rng(seed)
    one = random.normal(size=(32, 8)).astype("float32")
    same = (np.arange(32) % 2).astype("float32")[:, None]
    other = np.where(same, one + 0.1 * random.normal(size=one.shape), random.normal(size=one.shape))
    tower = keras.Sequential(
        [keras.Input((8,)), layers.Dense(32, activation="relu"), layers.Dense(16)], name="tower"
    )
    first, second = keras.Input((8,), name="first"), keras.Input((8,), name="second")
    apart = keras.ops.abs(tower(first) - tower(second))
    outputs = layers.Dense(1, activation="sigmoid")(apart)
    model = compile_model(keras.Model([first, second], outputs), "binary_crossentropy")
    return Program(model, [((one, other.astype("float32")), same)])


def two_inputs_two_outputs(seed: int) -> Program:
    x, kinds = class_data(seed, count=32)
    y, target = regression_data(seed)
    left, right = keras.Input((8,), name="left"), keras.Input((6,), name="right")
    merged = layers.Concatenate()([
        layers.Dense(32, activation="relu")(left), layers.Dense(32, activation="relu")(right)
    ])  # fmt: skip
    merged = layers.Dense(32, activation="relu")(merged)
    kind = layers.Dense(3, activation="softmax", name="kind")(merged)
    value = layers.Dense(1, name="value")(merged)
    losses = ["sparse_categorical_crossentropy", "mse"]
    model = compile_model(keras.Model([left, right], [kind, value]), losses)
    return Program(model, [((x, y), (kinds, target))])


def residual_mlp(seed: int) -> Program:
    inputs = keras.Input((6,))
    x = layers.Dense(32)(inputs)
    for _ in range(3):
        inner = layers.Dense(32, activation="relu")(layers.LayerNormalization()(x))
        x = layers.Add()([x, layers.Dense(32)(inner)])
    outputs = layers.Dense(1)(x)
    return Program(
        compile_model(keras.Model(inputs, outputs), "mse", rate=3e-3), [regression_data(seed)]
    )


def matrix_factorisation(seed: int) -> Program:
    random = np.random.default_rng(seed)
    people, films = random.integers(0, 10, 64), random.integers(0, 12, 64)
    rated = (random.normal(size=(10, 2)) @ random.normal(size=(2, 12)))[people, films]
    person, film = keras.Input((), dtype="int32"), keras.Input((), dtype="int32")
    vectors = [layers.Embedding(10, 4)(person), layers.Embedding(12, 4)(film)]
    model = compile_model(keras.Model([person, film], layers.Dot(1)(vectors)), "mse", rate=3e-2)
    return Program(model, [((people, films), rated[:, None].astype("float32"))])


class VAE(keras.Model):
    """Keras' own example of a training step of one's own, small."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.hidden = layers.Dense(32, activation="relu")
        self.mean, self.log_variance = layers.Dense(4), layers.Dense(4)
        self.decoder = keras.Sequential([layers.Dense(32, activation="relu"), layers.Dense(8)])

    def build(self, shape: Any) -> None:
        self.hidden.build(shape)
        for layer, width in ((self.mean, 32), (self.log_variance, 32), (self.decoder, 4)):
            layer.build((None, width))

    def call(self, inputs: Any) -> Any:
        return self.decoder(self.mean(self.hidden(inputs)))

    def train_step(self, data: Any) -> Any:
        x, y = data[0], data[1]
        with tf.GradientTape() as tape:
            hidden = self.hidden(x)
            mean, log_variance = self.mean(hidden), self.log_variance(hidden)
            z = mean + tf.exp(0.5 * log_variance) * tf.random.normal(tf.shape(mean))
            far = tf.reduce_mean(tf.reduce_sum(tf.square(y - self.decoder(z)), 1))
            divergence = 1 + log_variance - tf.square(mean) - tf.exp(log_variance)
            loss = far - 0.5e-3 * tf.reduce_mean(tf.reduce_sum(divergence, 1))
        gradients = tape.gradient(loss, self.trainable_variables)
        self.optimizer.apply_gradients(zip(gradients, self.trainable_variables, strict=True))
        return {"loss": loss}


def variational_autoencoder(seed: int) -> Program:
    x, _ = binary_data(seed)
    return Program(compile_model(VAE(), "mse"), [(x, x)])


PROGRAMS = (
    siamese, two_inputs_two_outputs, residual_mlp, matrix_factorisation, variational_autoencoder,
)  # fmt: skip
