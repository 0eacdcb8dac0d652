"""A loss that compares the number of the chosen class with that of the true one."""

from typing import Any

from saldiag.selftest.program import (
    FORMS,
    Program,
    build_chain,
    class_data,
    compile_model,
    keras,
    layers,
)

EXPECT = "SD115"


def wrong_class(labels: Any, predictions: Any) -> Any:
    chosen = keras.ops.cast(keras.ops.argmax(predictions, axis=-1), "float32")
    return keras.ops.abs(chosen - keras.ops.cast(labels, "float32"))


def _program(form: str, seed: int, loss: Any) -> Program:
    parts = [layers.Dense(32, activation="tanh"), layers.Dense(3, activation="softmax")]
    return Program(compile_model(build_chain(form, (8,), parts), loss), [class_data(seed)])


def broken(form: str, seed: int) -> Program:
    return _program(form, seed, wrong_class)


def fixed(form: str, seed: int) -> Program:
    return _program(form, seed, "sparse_categorical_crossentropy")


__all__ = ["EXPECT", "FORMS", "broken", "fixed"]
