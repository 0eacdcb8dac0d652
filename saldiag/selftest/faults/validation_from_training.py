"""Validation pictures taken from the training pictures, under an attention block."""

from typing import Any

from saldiag.selftest.program import FitPlan, Program, compile_model, keras, layers, np

EXPECT = "SD608"
FORMS = ("functional",)


def _model() -> Any:
    inputs = keras.Input((8, 6))
    hidden = layers.Dense(16)(inputs)
    hidden = layers.Add()([hidden, layers.MultiHeadAttention(2, 8)(hidden, hidden)])
    hidden = layers.GlobalAveragePooling1D()(layers.LayerNormalization()(hidden))
    return compile_model(
        keras.Model(inputs, layers.Dense(3, activation="softmax")(hidden)),
        "sparse_categorical_crossentropy",
    )


def _program(seed: int, start: int) -> Program:
    random = np.random.default_rng(seed)
    kinds = np.arange(72) % 3
    x = random.normal(size=(72, 8, 6)).astype("float32")
    x[np.arange(72), random.integers(0, 8, 72), kinds] += 5
    held_out = (x[start : start + 24], kinds[start : start + 24])
    plan = FitPlan(data=(x[:48], kinds[:48]), validation=[held_out], batch_size=16)
    return Program(_model(), [(x[:48], kinds[:48])], plan=plan)


def broken(form: str, seed: int) -> Program:
    return _program(seed, 24)


def fixed(form: str, seed: int) -> Program:
    return _program(seed, 48)


__all__ = ["EXPECT", "FORMS", "broken", "fixed"]
