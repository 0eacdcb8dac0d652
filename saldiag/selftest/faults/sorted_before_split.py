"""``validation_split`` takes the last items of sorted arrays: classes that training never sees."""

from typing import Any

from saldiag.selftest.program import Program, build_chain, compile_model, layers, np
from saldiag.selftest.validation_data import blob_data

EXPECT = "SD616"
FORMS = ("integers", "one_hot", "binary", "subclassed")


def _program(form: str, seed: int, *, mixed: bool) -> Program:
    x, y = blob_data(seed, kinds=2 if form == "binary" else 4)
    order = (
        np.random.default_rng(seed).permutation(len(x)) if mixed else np.argsort(y, kind="stable")
    )
    x, y = x[order], y[order]
    loss: Any = "sparse_categorical_crossentropy"
    last = layers.Dense(4, activation="softmax")
    if form == "one_hot":
        y, loss = np.eye(4)[y], "categorical_crossentropy"
    if form == "binary":
        last, loss = layers.Dense(1, activation="sigmoid"), "binary_crossentropy"
    built = "subclassed" if form == "subclassed" else "sequential"
    model = compile_model(
        build_chain(built, (8,), [layers.Dense(32, activation="relu"), last]), loss
    )
    held_out = 0.6 if form == "binary" else 0.3
    plan = {"x": x, "y": y, "validation_split": held_out, "epochs": 10, "batch_size": 8}
    return Program(model, fit=plan)


def broken(form: str, seed: int) -> Program:
    return _program(form, seed, mixed=False)


def fixed(form: str, seed: int) -> Program:
    return _program(form, seed, mixed=True)


__all__ = ["EXPECT", "FORMS", "broken", "fixed"]
