"""Files read in the order of their classes: the first batches hold one class only."""

import numpy as np

from saldiag.selftest.program import FORMS, Program, build_chain, class_data, compile_model, layers

EXPECT = "SD605"


def _program(form: str, seed: int, *, sort: bool) -> Program:
    x, y = class_data(seed, 96)
    order = np.argsort(y, kind="stable") if sort else np.arange(96)
    parts = [layers.Dense(32, activation="relu"), layers.Dense(3, activation="softmax")]
    model = compile_model(build_chain(form, (8,), parts), "sparse_categorical_crossentropy")
    return Program(model, [(x[order][:32], y[order][:32])], 60)


def broken(form: str, seed: int) -> Program:
    return _program(form, seed, sort=True)


def fixed(form: str, seed: int) -> Program:
    return _program(form, seed, sort=False)


__all__ = ["EXPECT", "FORMS", "broken", "fixed"]
