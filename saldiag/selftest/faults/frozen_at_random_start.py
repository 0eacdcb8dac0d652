"""What was to be frozen at weights from elsewhere is frozen at its random start."""

from saldiag.selftest.attention import Block, reader
from saldiag.selftest.program import Program, chain, compiled, curve, layers, pictures, sentences
from saldiag.selftest.small_quicksal import small_quicksal

EXPECT = "SD403"
FORMS = ("functional", "nested", "attention", "quicksal")


def _program(form: str, seed: int, *, frozen: bool) -> Program:
    if form == "quicksal":
        model = compiled(small_quicksal(frozen=frozen), "binary_crossentropy")
        return Program(model, [pictures(seed, 8)], 0)
    if form == "attention":
        block = Block()
        model = reader([layers.Dense(1, activation="sigmoid")], block)
        block.attention.trainable = not frozen
        compiled(model, "binary_crossentropy", rate=3e-3)
        return Program(model, [sentences(seed)], 60)
    base = layers.Dense(64, activation="relu", name="base")
    parts = [base, layers.Dense(32, activation="relu"), layers.Dense(1)]
    x, y = curve(seed)
    model = chain(form, (6,), parts)
    model(x)  # built first: Keras 3.15 never has gradients for what is built frozen
    base.trainable = not frozen
    return Program(compiled(model, "mse"), [(x, y)], 60)


def broken(form: str, seed: int) -> Program:
    return _program(form, seed, frozen=True)


def fixed(form: str, seed: int) -> Program:
    return _program(form, seed, frozen=False)


__all__ = ["EXPECT", "FORMS", "broken", "fixed"]
