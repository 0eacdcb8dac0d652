"""Adam with a learning rate of 3: every step replaces the weights."""

from saldiag.selftest.attention import READERS
from saldiag.selftest.program import FORMS as CHAINS
from saldiag.selftest.program import (
    Program,
    binary_data,
    build_chain,
    compile_model,
    layers,
    token_data,
)

EXPECT = "SD701"
FORMS = (*CHAINS, "attention")


def _program(form: str, seed: int, rate: float) -> Program:
    if form in READERS:
        model = READERS[form]([layers.Dense(1, activation="sigmoid")])
        return Program(
            compile_model(model, "binary_crossentropy", rate=rate), [token_data(seed)], 100
        )
    parts = [
        layers.Dense(64, activation="relu"),
        layers.Dense(64, activation="relu"),
        layers.Dense(64, activation="relu"),
        layers.Dense(1, activation="sigmoid", name="answer"),
    ]
    return Program(
        compile_model(build_chain(form, (8,), parts), "mse", rate=rate), [binary_data(seed)]
    )


def broken(form: str, seed: int) -> Program:
    return _program(form, seed, 3.0)


def fixed(form: str, seed: int) -> Program:
    return _program(form, seed, 3e-3)


__all__ = ["EXPECT", "FORMS", "broken", "fixed"]
