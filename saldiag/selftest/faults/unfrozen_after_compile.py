"""A base that is unfrozen for fine-tuning after a first fit, without compiling again."""

from saldiag.selftest.program import (
    FORMS,
    Program,
    build_chain,
    compile_model,
    layers,
    regression_data,
)

EXPECT = "SD406"


def _program(form: str, seed: int, *, again: bool) -> Program:
    base = layers.Dense(32, activation="relu", name="base")
    parts = [base, layers.Dense(32, activation="relu"), layers.Dense(1)]
    x, y = regression_data(seed)
    model = build_chain(form, (6,), parts)
    model(x)
    base.trainable = False  # not before it is built: Keras 3.15 then never has gradients for it
    compile_model(model, "mse").fit(x, y, epochs=2, verbose=0)
    base.trainable = True
    if again:
        compile_model(model, "mse")
    return Program(model, [(x, y)], 120)


def broken(form: str, seed: int) -> Program:
    return _program(form, seed, again=False)


def fixed(form: str, seed: int) -> Program:
    return _program(form, seed, again=True)


__all__ = ["EXPECT", "FORMS", "broken", "fixed"]
