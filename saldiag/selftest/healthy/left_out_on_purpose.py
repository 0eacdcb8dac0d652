"""Outputs without a loss, inputs that give a shape, whole numbers and metrics: all on purpose."""

from __future__ import annotations

from typing import Any

from saldiag.selftest.program import (
    FitPlan,
    Program,
    build_chain,
    class_data,
    compile_model,
    keras,
    layers,
    mask_data,
    np,
    regression_data,
    token_data,
)


def features_given_out(seed: int) -> Program:
    """Features and the share of the likeliest class beside the classes; None is said of neither."""
    inputs = keras.Input((8,))
    features = layers.Dense(32, activation="relu", name="features")(inputs)
    kinds = layers.Dense(3, activation="softmax", name="kinds")(features)
    outputs = {"kinds": kinds, "features": features, "sure": keras.ops.max(kinds, axis=-1)}
    model = compile_model(
        keras.Model(inputs, outputs), {"kinds": "sparse_categorical_crossentropy"}
    )
    x, y = class_data(seed)
    return Program(model, [(x, {"kinds": y})], 100)


def state_given_out(seed: int) -> Program:
    """A GRU's state, for the next call; its target is there for its place."""
    inputs = keras.Input((10,))
    x, state = layers.GRU(16, return_state=True)(layers.Embedding(20, 8)(inputs))
    model = keras.Model(inputs, [layers.Dense(1, activation="sigmoid")(x), state])
    tokens, y = token_data(seed)
    compile_model(model, ["binary_crossentropy", None])
    return Program(model, [(tokens, (y, np.zeros((32, 16), "float32")))], 60)


class Places(layers.Layer):
    """Adds the place of each word, as far as another text goes."""

    def __init__(self) -> None:
        super().__init__(name="places")
        self.places = layers.Embedding(10, 16)

    def call(self, inputs: Any, like: Any) -> Any:
        return inputs + self.places(keras.ops.arange(like.shape[1]))


def input_for_its_shape(seed: int) -> Program:
    tokens, like = keras.Input((10,), dtype="int32"), keras.Input((10,), dtype="int32")
    x = Places()(layers.Embedding(20, 16)(tokens), like)
    outputs = layers.Dense(1, activation="sigmoid")(layers.Flatten()(x))
    model = compile_model(keras.Model([tokens, like], outputs), "binary_crossentropy")
    words, y = token_data(seed)
    return Program(model, [((words, words), y)], 60)


def minute_of_the_day(seed: int) -> Program:
    """Minutes of one day: the number of the day is 0, and the minute is what is left."""
    minutes = np.random.default_rng(seed).integers(0, 1440, size=(32, 1))
    inputs = keras.Input((1,), dtype="int32")
    day = keras.ops.cast(inputs // 1440, "float32")
    turn = keras.ops.cast(inputs % 1440, "float32") * (2 * np.pi / 1440)
    x = layers.Concatenate()([day, keras.ops.sin(turn), keras.ops.cos(turn)])
    x = layers.Dense(32, activation="relu")(x)
    model = keras.Model(inputs, layers.Dense(1, activation="sigmoid")(x))
    y = ((minutes > 480) & (minutes < 1000)).astype("float32")
    return Program(compile_model(model, "binary_crossentropy"), [(minutes.astype("int32"), y)], 100)


def jaccard_at_zero(seed: int) -> Program:
    """A metric at 0 throughout, for no pixel gets as sure as it asks."""

    def jaccard(y_true: Any, y_pred: Any) -> Any:
        sure = keras.ops.cast(y_pred > 0.9999, "float32")
        both = keras.ops.sum(y_true * sure)
        return both / (keras.ops.sum(keras.ops.maximum(y_true, sure)) + 1.0)

    parts = [
        layers.Conv2D(16, 3, padding="same", activation="relu"),
        layers.Conv2D(1, 3, padding="same", activation="sigmoid"),
    ]
    model = compile_model(build_chain("nested", (16, 16, 3), parts), "mse", metrics=[jaccard])
    return Program(model, [mask_data(seed)], 60)


class Scored(keras.Model):
    """Reports of validation data what it does not of training data."""

    def test_step(self, data: Any) -> Any:
        x, y = data
        loss = self.compute_loss(x=x, y=y, y_pred=self(x, training=False))
        return {"loss": loss, "score": 1.0 - loss}


def score_of_its_own(seed: int) -> Program:
    inputs = keras.Input((6,))
    x = layers.Dense(64, activation="relu")(inputs)
    model = compile_model(Scored(inputs, layers.Dense(1)(x)), "mse")
    data = regression_data(seed)
    stopping = keras.callbacks.EarlyStopping("val_score", mode="max", patience=5)
    plan = FitPlan(
        data=data, validation=[regression_data(seed + 1)], epochs=20, callbacks=(stopping,)
    )
    return Program(model, [data], 60, plan=plan)


PROGRAMS = (
    features_given_out, state_given_out, input_for_its_shape, minute_of_the_day, jaccard_at_zero,
    score_of_its_own,
)  # fmt: skip
