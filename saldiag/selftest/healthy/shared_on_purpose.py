"""Layers that are used more than once, or kept out of training, and are meant to be."""

from __future__ import annotations

from typing import Any

from saldiag.selftest.program import (
    Program,
    binary_data,
    compile_model,
    keras,
    layers,
    np,
    regression_data,
    token_data,
)


def halves_of_one_input(seed: int) -> Program:
    """One encoder reads both halves of each sample."""
    inputs = keras.Input((8,))
    encoder = layers.Dense(32, activation="tanh", name="encoder")
    both = layers.Concatenate()([encoder(inputs[:, :4]), encoder(inputs[:, 4:])])
    x = layers.Dense(32, activation="tanh")(both)
    outputs = layers.Dense(1, activation="sigmoid")(x)
    model = compile_model(keras.Model(inputs, outputs), "binary_crossentropy")
    return Program(model, [binary_data(seed)])


def state_with_input_at_each_turn(seed: int) -> Program:
    """One cell, four turns, and the input comes in at each."""
    inputs = keras.Input((6,))
    cell = layers.Dense(32, activation="tanh", name="cell")
    state = keras.ops.zeros_like(keras.ops.tile(inputs[:, :1], (1, 32)))
    for _ in range(4):
        state = cell(layers.Concatenate()([inputs, state]))
    model = keras.Model(inputs, layers.Dense(1)(state))
    return Program(compile_model(model, "mse"), [regression_data(seed)])


class WithFixedFeatures(keras.Model):
    """Beside its own layers it reads frozen random features, which it keeps to itself."""

    def __init__(self) -> None:
        super().__init__(name="with_fixed_features")
        random: Any = layers.Dense(32, activation="tanh", trainable=False, name="random")
        random.build((None, 6))
        self.features: Any = lambda x: 1.0 * random(x)  # out of Keras' sight
        self.hidden = layers.Dense(32, activation="tanh", name="hidden")
        self.last = layers.Dense(1, name="last")

    def call(self, inputs: Any) -> Any:
        both = keras.ops.concatenate([inputs, self.features(inputs)], axis=-1)
        return self.last(self.hidden(both))


def frozen_features_in_closure(seed: int) -> Program:
    return Program(compile_model(WithFixedFeatures(), "mse"), [regression_data(seed)])


def guarded_logarithm_in_half(seed: int) -> Program:
    """Under mixed_float16 with an epsilon that float16 keeps, and Keras' own normalisation."""
    keras.config.set_dtype_policy("mixed_float16")
    inputs = keras.Input((8,))
    x = layers.Dense(32)(inputs)
    x = layers.LayerNormalization(epsilon=1e-12)(x)
    x = keras.ops.log(keras.ops.square(x) + 0.01)
    outputs = layers.Dense(1, activation="sigmoid", dtype="float32")(x)
    x, y = binary_data(seed)
    model = compile_model(keras.Model(inputs, outputs), "binary_crossentropy")
    return Program(model, [(x.astype(np.float32), y)])


class WordDrop(layers.Layer):
    """Leaves out some of the numbers, others each time."""

    def __init__(self) -> None:
        super().__init__(name="word_drop")
        self.seeds = keras.random.SeedGenerator(1)

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        return keras.random.dropout(inputs, 0.1, seed=self.seeds) if training else inputs


def twins_by_chance(seed: int) -> Program:
    """One encoder reads each sample twice, and leaves out something else each time."""
    inputs = keras.Input((8,))
    encoder, drop = layers.Dense(32, activation="tanh", name="encoder"), WordDrop()
    both = layers.Concatenate()([drop(encoder(inputs)), drop(encoder(inputs))])
    outputs = layers.Dense(1, activation="sigmoid")(layers.Dense(32, activation="tanh")(both))
    return Program(
        compile_model(keras.Model(inputs, outputs), "binary_crossentropy"), [binary_data(seed)]
    )


class Perceptual(keras.Model):
    """It rebuilds its input, and compares the two by features of a network that stays as it is."""

    def __init__(self) -> None:
        super().__init__(name="perceptual")
        other = keras.Sequential([keras.Input((6,)), layers.Dense(32, activation="tanh")])
        self.features: Any = lambda x: 1.0 * other(x)  # out of Keras' sight
        self.hidden = layers.Dense(32, activation="tanh", name="hidden")
        self.outcome = layers.Dense(6, name="outcome")

    def call(self, inputs: Any) -> Any:
        rebuilt = self.outcome(self.hidden(inputs))
        difference = self.features(inputs) - self.features(rebuilt)
        self.add_loss(keras.ops.mean(keras.ops.square(difference)))
        return rebuilt


def features_in_the_loss(seed: int) -> Program:
    x, _ = regression_data(seed)
    return Program(compile_model(Perceptual(), "mse"), [(x, x)])


class Taught(keras.Model):
    """Beside its task it is to agree with a slow copy of itself, behind ``stop_gradient``."""

    def __init__(self) -> None:
        super().__init__(name="taught")
        self.student, self.teacher = (
            keras.Sequential(
                [keras.Input((6,)), layers.Dense(32, activation="tanh"), layers.Dense(8)], name=name
            )
            for name in ("student", "teacher")
        )
        self.teacher.set_weights(self.student.get_weights())
        self.teacher.trainable = False
        self.over_teacher = layers.Dense(8, name="over_teacher")
        self.outcome = layers.Dense(1, name="outcome")

    def call(self, inputs: Any) -> Any:
        features = self.student(inputs)
        target = keras.ops.stop_gradient(self.over_teacher(self.teacher(inputs)))
        self.add_loss(0.01 * keras.ops.mean(keras.ops.square(features - target)))
        return self.outcome(features)


def target_network_in_the_loss(seed: int) -> Program:
    return Program(compile_model(Taught(), "mse"), [regression_data(seed)])


class Tied(keras.Model):
    """Tells the next word; the table of words is its last layer as well."""

    def __init__(self) -> None:
        super().__init__(name="tied")
        self.words = layers.Embedding(20, 16, name="words")
        self.reader = layers.GRU(16, return_sequences=True, name="reader")

    def call(self, inputs: Any) -> Any:
        x = self.reader(self.words(inputs))
        return keras.ops.matmul(x, keras.ops.transpose(self.words.embeddings))


def tied_words(seed: int) -> Program:
    words, _ = token_data(seed)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    return Program(compile_model(Tied(), loss), [(words[:, :-1], words[:, 1:])], 60)


PROGRAMS = (
    halves_of_one_input, state_with_input_at_each_turn, frozen_features_in_closure,
    twins_by_chance, features_in_the_loss, guarded_logarithm_in_half, target_network_in_the_loss,
    tied_words,
)  # fmt: skip
