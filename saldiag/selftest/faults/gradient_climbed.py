"""A training step of one's own that takes the gradient of minus the loss; an LSTM."""

from saldiag.selftest.loops import FORMS, Change, custom_step_model
from saldiag.selftest.program import Program, compile_model, keras, layers, token_data

EXPECT = "SD707"


def _program(form: str, seed: int, change: Change | None = None) -> Program:
    parts = [layers.Embedding(20, 16), layers.LSTM(16), layers.Dense(1, activation="sigmoid")]
    model = custom_step_model(form, keras.Input((10,), dtype="int32"), parts, change)
    return Program(compile_model(model, "mse", rate=3e-3), [token_data(seed)], 200)


def broken(form: str, seed: int) -> Program:
    return _program(form, seed, lambda gradients: [-gradient for gradient in gradients])


def fixed(form: str, seed: int) -> Program:
    return _program(form, seed)


__all__ = ["EXPECT", "FORMS", "broken", "fixed"]
