"""A Normalization adapted to raw measurements that gets standardised ones, or was never adapted."""

from saldiag.selftest.program import (
    FORMS,
    Program,
    binary_data,
    build_chain,
    compile_model,
    layers,
    np,
)

EXPECT = "SD612"


def _program(form: str, seed: int, *, well: bool) -> Program:
    x, y = binary_data(seed, 48, 24)
    raw = 120 + 60 * x
    normalization = layers.Normalization(axis=-1)
    never = form == "nested" and not well
    if not never:
        normalization.adapt(raw.reshape(-1, 4))
    given = raw if well or never else x
    parts = [
        normalization,
        layers.LSTM(16),
        layers.Dense(16, activation="relu"),
        layers.Dense(1, activation="sigmoid"),
    ]
    model = compile_model(build_chain(form, (6, 4), parts), "binary_crossentropy")
    return Program(model, [(np.reshape(given, (-1, 6, 4)), y)], 250)


def broken(form: str, seed: int) -> Program:
    return _program(form, seed, well=False)


def fixed(form: str, seed: int) -> Program:
    return _program(form, seed, well=True)


__all__ = ["EXPECT", "FORMS", "broken", "fixed"]
