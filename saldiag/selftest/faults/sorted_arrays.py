"""Sentences sorted by their label, and ``shuffle=False``."""

from saldiag.selftest.program import (
    FORMS,
    FitPlan,
    Program,
    build_chain,
    compile_model,
    layers,
    np,
    token_data,
)

EXPECT = "SD609"


def _program(form: str, seed: int, *, shuffle: bool) -> Program:
    x, y = token_data(seed, 128)
    order = np.argsort(y[:, 0], kind="stable")
    parts = [
        layers.Embedding(20, 8),
        layers.GRU(16),
        layers.Dense(1, activation="sigmoid"),
    ]
    model = compile_model(build_chain(form, (10,), parts), "binary_crossentropy")
    plan = FitPlan(data=(x[order], y[order]), shuffle=shuffle, batch_size=16)
    return Program(model, [(x[:32], y[:32])], plan=plan)


def broken(form: str, seed: int) -> Program:
    return _program(form, seed, shuffle=False)


def fixed(form: str, seed: int) -> Program:
    return _program(form, seed, shuffle=True)


__all__ = ["EXPECT", "FORMS", "broken", "fixed"]
