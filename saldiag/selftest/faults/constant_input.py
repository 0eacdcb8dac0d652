"""The inputs were cast to whole numbers after they were scaled to 0 … 1: all are 0."""

import numpy as np

from saldiag.selftest.program import FORMS as CHAINS
from saldiag.selftest.program import (
    Program,
    binary_data,
    build_chain,
    compile_model,
    layers,
    mask_data,
)
from saldiag.selftest.small_quicksal import small_quicksal

EXPECT = "SD604"
FORMS = (*CHAINS, "quicksal")


def _program(form: str, seed: int, cast: str) -> Program:
    if form == "quicksal":
        images, masks = mask_data(seed, 8)
        scaled = (0.499 * (images + 1)).astype(cast).astype("float32")
        return Program(compile_model(small_quicksal(), "mae"), [(scaled, masks)], 0)
    x, y = binary_data(seed)
    x = 1 / (1.001 + np.exp(-x))
    parts = [layers.Dense(32, activation="relu"), layers.Dense(1, activation="sigmoid")]
    model = compile_model(build_chain(form, (8,), parts), "binary_crossentropy", rate=3e-2)
    return Program(model, [(x.astype(cast).astype("float32"), y)], 250)


def broken(form: str, seed: int) -> Program:
    return _program(form, seed, "int32")


def fixed(form: str, seed: int) -> Program:
    return _program(form, seed, "float32")


__all__ = ["EXPECT", "FORMS", "broken", "fixed"]
