"""A training step of one's own that computes gradients and does not apply them; a convolution."""

from saldiag.selftest.loops import FORMS, Change, custom_step_model
from saldiag.selftest.program import Program, compile_model, keras, layers, size_data

EXPECT = "SD409"


def _program(form: str, seed: int, change: Change | None = None) -> Program:
    parts = [
        layers.Conv2D(16, 3, activation="relu"),
        layers.MaxPooling2D(),
        layers.Flatten(),
        layers.Dense(3, activation="softmax"),
    ]
    model = custom_step_model(form, keras.Input((16, 16, 3)), parts, change)
    return Program(
        compile_model(model, "sparse_categorical_crossentropy", rate=3e-3), [size_data(seed)]
    )


def broken(form: str, seed: int) -> Program:
    return _program(form, seed, lambda _: None)


def fixed(form: str, seed: int) -> Program:
    return _program(form, seed)


__all__ = ["EXPECT", "FORMS", "broken", "fixed"]
