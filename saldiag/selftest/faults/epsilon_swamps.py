"""Adam with an epsilon of 100, beside gradients of a hundredth; a GRU."""

from saldiag.selftest.program import (
    FORMS,
    Program,
    build_chain,
    compile_model,
    keras,
    layers,
    token_data,
)

EXPECT = "SD711"


def _program(form: str, seed: int, epsilon: float) -> Program:
    parts = [layers.Embedding(20, 8), layers.GRU(16), layers.Dense(1, activation="sigmoid")]
    optimizer = keras.optimizers.Adam(1e-2, epsilon=epsilon)
    model = compile_model(
        build_chain(form, (10,), parts), "binary_crossentropy", optimizer=optimizer
    )
    return Program(model, [token_data(seed)])


def broken(form: str, seed: int) -> Program:
    return _program(form, seed, 100.0)


def fixed(form: str, seed: int) -> Program:
    return _program(form, seed, 1e-7)


__all__ = ["EXPECT", "FORMS", "broken", "fixed"]
