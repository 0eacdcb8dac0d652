"""One layer in float64 in the middle of a float32 model."""

from saldiag.selftest.program import FORMS, Program, binary_data, build_chain, compile_model, layers

EXPECT = "SD504"


def _program(form: str, seed: int, dtype: str) -> Program:
    parts = [
        layers.Dense(32, activation="relu"),
        layers.Dense(32, activation="relu", dtype=dtype, name="wide"),
        layers.Dense(1, activation="sigmoid"),
    ]
    return Program(
        compile_model(build_chain(form, (8,), parts), "binary_crossentropy"), [binary_data(seed)]
    )


def broken(form: str, seed: int) -> Program:
    return _program(form, seed, "float64")


def fixed(form: str, seed: int) -> Program:
    return _program(form, seed, "float32")


__all__ = ["EXPECT", "FORMS", "broken", "fixed"]
