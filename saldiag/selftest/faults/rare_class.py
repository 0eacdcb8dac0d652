"""Four positives among 400 samples."""

import numpy as np

from saldiag.selftest.program import FORMS, Program, binary_data, build_chain, compile_model, layers

EXPECT = "SD606"


def _program(form: str, seed: int, share: float) -> Program:
    x, _ = binary_data(seed, 400)
    y = (x[:, :1] > np.quantile(x[:, 0], 1 - share)).astype("float32")
    parts = [layers.Dense(32, activation="relu"), layers.Dense(1, activation="sigmoid")]
    return Program(
        compile_model(build_chain(form, (8,), parts), "binary_crossentropy"), [(x, y)], 300
    )


def broken(form: str, seed: int) -> Program:
    return _program(form, seed, 0.01)


def fixed(form: str, seed: int) -> Program:
    return _program(form, seed, 0.3)


__all__ = ["EXPECT", "FORMS", "broken", "fixed"]
