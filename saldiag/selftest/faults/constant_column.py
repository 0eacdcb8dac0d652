"""A column of a table, brought to 0 … 1 by whole numbers, is 0 in all rows."""

from saldiag.selftest.program import (
    FORMS,
    Program,
    build_chain,
    compile_model,
    layers,
    np,
    regression_data,
)

EXPECT = "SD613"


def _program(form: str, seed: int, *, whole: bool) -> Program:
    x, y = regression_data(seed)
    scaled = np.random.default_rng(seed).uniform(0.1, 0.9, size=len(x)).astype("float32")
    x[:, 4] = np.floor(scaled) if whole else scaled
    parts = [layers.Dense(32, activation="relu"), layers.Dense(1)]
    return Program(compile_model(build_chain(form, (6,), parts), "mse"), [(x, y)])


def broken(form: str, seed: int) -> Program:
    return _program(form, seed, whole=True)


def fixed(form: str, seed: int) -> Program:
    return _program(form, seed, whole=False)


__all__ = ["EXPECT", "FORMS", "broken", "fixed"]
