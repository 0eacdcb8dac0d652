"""Validation numbers the classes otherwise: from 1, without a missing folder, in another order."""

from typing import Any

from saldiag.selftest.program import Program, build_chain, compile_model, keras, layers, np
from saldiag.selftest.validation_data import blob_data, fit_arguments, split_items

EXPECT = "SD615"
FORMS = ("shifted", "folder_missing", "one_hot_renamed", "binary_inverted", "logits_renamed")


def _renamed(form: str, x: Any, y: Any) -> Any:
    """Validation items with wrong numbers."""
    if form == "folder_missing":  # of four folders the first is not there
        kept = y != 0
        return x[kept], y[kept] - 1
    if form == "binary_inverted":
        return x, 1 - y
    if form == "shifted":
        return x, np.minimum(y + 1, 4)
    return x, np.array([2, 0, 3, 1])[y]


def _program(form: str, seed: int, *, right: bool) -> Program:
    train, held_out = split_items(blob_data(seed, kinds=2 if form == "binary_inverted" else 4), 112)
    if not right:
        held_out = _renamed(form, *held_out)
    loss: Any = "sparse_categorical_crossentropy"
    last = layers.Dense(5 if form == "shifted" else 4, activation="softmax")
    if form == "binary_inverted":
        last, loss = layers.Dense(1, activation="sigmoid"), "binary_crossentropy"
    if form == "one_hot_renamed":
        train, held_out = ((x, np.eye(4)[y]) for x, y in (train, held_out))
        loss = "categorical_crossentropy"
    if form == "logits_renamed":
        last = layers.Dense(4)
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model = build_chain("functional", (8,), [layers.Dense(32, activation="relu"), last])
    return Program(compile_model(model, loss), fit=fit_arguments(train, held_out))


def broken(form: str, seed: int) -> Program:
    return _program(form, seed, right=False)


def fixed(form: str, seed: int) -> Program:
    return _program(form, seed, right=True)


__all__ = ["EXPECT", "FORMS", "broken", "fixed"]
