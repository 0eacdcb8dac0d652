"""A dense layer with a bias right before BatchNorm."""

from saldiag.selftest.program import FORMS, Program, binary_data, build_chain, compile_model, layers

EXPECT = "SD111"


def _program(form: str, seed: int, use_bias: bool) -> Program:
    parts = [
        layers.Dense(32, use_bias=use_bias, name="hidden"),
        layers.BatchNormalization(momentum=0.8),
        layers.ReLU(),
        layers.Dense(1, activation="sigmoid"),
    ]
    return Program(
        compile_model(build_chain(form, (8,), parts), "binary_crossentropy"), [binary_data(seed)]
    )


def broken(form: str, seed: int) -> Program:
    return _program(form, seed, use_bias=True)


def fixed(form: str, seed: int) -> Program:
    return _program(form, seed, use_bias=False)


__all__ = ["EXPECT", "FORMS", "broken", "fixed"]
