"""A dense layer with a bias right before BatchNorm."""

from saldiag.selftest.program import FORMS, Program, chain, compiled, layers, numbers

EXPECT = "SD111"


def _program(form: str, seed: int, use_bias: bool) -> Program:
    parts = [
        layers.Dense(32, use_bias=use_bias, name="hidden"),
        layers.BatchNormalization(momentum=0.8),
        layers.ReLU(),
        layers.Dense(1, activation="sigmoid"),
    ]
    return Program(compiled(chain(form, (8,), parts), "binary_crossentropy"), [numbers(seed)])


def broken(form: str, seed: int) -> Program:
    return _program(form, seed, use_bias=True)


def fixed(form: str, seed: int) -> Program:
    return _program(form, seed, use_bias=False)


__all__ = ["EXPECT", "FORMS", "broken", "fixed"]
