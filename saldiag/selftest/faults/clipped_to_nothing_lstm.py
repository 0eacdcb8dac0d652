"""An LSTM under SGD with each gradient clipped to a norm of 1e-6."""

from saldiag.selftest.program import (
    FORMS,
    Program,
    build_chain,
    compile_model,
    keras,
    layers,
    token_data,
)

EXPECT = "SD207"


def _program(form: str, seed: int, limit: float) -> Program:
    parts = [layers.Embedding(20, 16), layers.LSTM(16), layers.Dense(1, activation="sigmoid")]
    optimizer = keras.optimizers.SGD(1.0, momentum=0.9, clipnorm=limit)
    model = compile_model(
        build_chain(form, (10,), parts), "binary_crossentropy", optimizer=optimizer
    )
    return Program(model, [token_data(seed)], 200)


def broken(form: str, seed: int) -> Program:
    return _program(form, seed, 1e-6)


def fixed(form: str, seed: int) -> Program:
    return _program(form, seed, 5.0)


__all__ = ["EXPECT", "FORMS", "broken", "fixed"]
