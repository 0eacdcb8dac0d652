"""What was to be frozen at weights from elsewhere is frozen at its random start."""

from saldiag.selftest.attention import Block, transformer_model
from saldiag.selftest.program import (
    Program,
    build_chain,
    compile_model,
    layers,
    mask_data,
    regression_data,
    token_data,
)
from saldiag.selftest.small_quicksal import small_quicksal

EXPECT = "SD403"
FORMS = ("functional", "nested", "attention", "quicksal")


def _program(form: str, seed: int, *, frozen: bool) -> Program:
    if form == "quicksal":
        model = compile_model(small_quicksal(frozen=frozen), "binary_crossentropy")
        return Program(model, [mask_data(seed, 8)], 0)
    if form == "attention":
        block = Block()
        model = transformer_model([layers.Dense(1, activation="sigmoid")], block)
        block.attention.trainable = not frozen
        compile_model(model, "binary_crossentropy", rate=3e-3)
        return Program(model, [token_data(seed)], 60)
    base = layers.Dense(64, activation="relu", name="base")
    parts = [base, layers.Dense(32, activation="relu"), layers.Dense(1)]
    x, y = regression_data(seed)
    model = build_chain(form, (6,), parts)
    model(x)  # built first: Keras 3.15 never has gradients for what is built frozen
    base.trainable = not frozen
    return Program(compile_model(model, "mse"), [(x, y)], 60)


def broken(form: str, seed: int) -> Program:
    return _program(form, seed, frozen=True)


def fixed(form: str, seed: int) -> Program:
    return _program(form, seed, frozen=False)


__all__ = ["EXPECT", "FORMS", "broken", "fixed"]
