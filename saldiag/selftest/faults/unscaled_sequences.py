"""Sequences of raw measurements in the hundreds, for a GRU."""

from saldiag.selftest.program import FORMS, Program, binary_data, build_chain, compile_model, layers

EXPECT = "SD601"


def _program(form: str, seed: int, scale: float) -> Program:
    x, y = binary_data(seed, 32, 24)
    x = x.reshape(-1, 6, 4) * scale
    parts = [layers.GRU(24), layers.Dense(1, activation="sigmoid")]
    model = compile_model(build_chain(form, (6, 4), parts), "binary_crossentropy")
    return Program(model, [(x, y)], 200)


def broken(form: str, seed: int) -> Program:
    return _program(form, seed, 300.0)


def fixed(form: str, seed: int) -> Program:
    return _program(form, seed, 1.0)


__all__ = ["EXPECT", "FORMS", "broken", "fixed"]
