"""A binary classifier whose only output unit has softmax."""

from saldiag.selftest.attention import READERS
from saldiag.selftest.program import FORMS as CHAINS
from saldiag.selftest.program import (
    Program,
    binary_data,
    build_chain,
    compile_model,
    layers,
    mask_data,
    token_data,
)
from saldiag.selftest.small_quicksal import small_quicksal

EXPECT = "SD101"
FORMS = (*CHAINS, *READERS, "quicksal")


def _program(form: str, seed: int, activation: str) -> Program:
    if form == "quicksal":
        model = small_quicksal(activation=activation)
        return Program(compile_model(model, "mae"), [mask_data(seed, 8)], 0)
    head = layers.Dense(1, activation=activation, name="answer")
    if form in READERS:
        return Program(compile_model(READERS[form]([head]), "mse"), [token_data(seed)], 60)
    model = build_chain(form, (8,), [layers.Dense(32, activation="relu", name="hidden"), head])
    return Program(compile_model(model, "mse"), [binary_data(seed)])


def broken(form: str, seed: int) -> Program:
    return _program(form, seed, "softmax")


def fixed(form: str, seed: int) -> Program:
    return _program(form, seed, "sigmoid")


__all__ = ["EXPECT", "FORMS", "broken", "fixed"]
