"""Four blocks in a row are one, for the loop takes the same at each turn."""

from saldiag.selftest.program import Program, build_chain, compile_model, layers, regression_data

EXPECT = "SD116"
FORMS = ("functional", "subclassed")


def _program(form: str, seed: int, *, shared: bool) -> Program:
    one = layers.Dense(24, activation="tanh", name="block")
    blocks = [one] * 4 if shared else [layers.Dense(24, activation="tanh") for _ in range(4)]
    parts = [layers.Dense(24, activation="tanh"), *blocks, layers.Dense(1)]
    return Program(compile_model(build_chain(form, (6,), parts), "mse"), [regression_data(seed)])


def broken(form: str, seed: int) -> Program:
    return _program(form, seed, shared=True)


def fixed(form: str, seed: int) -> Program:
    return _program(form, seed, shared=False)


__all__ = ["EXPECT", "FORMS", "broken", "fixed"]
