"""A penalty on the weights of convolutions of 10 times their square."""

from saldiag.selftest.program import (
    FORMS,
    Program,
    build_chain,
    compile_model,
    keras,
    layers,
    size_data,
)

EXPECT = "SD711"


def _program(form: str, seed: int, factor: float) -> Program:
    def penalty() -> object:
        return keras.regularizers.L2(factor)

    parts = [
        layers.Conv2D(16, 3, activation="relu", kernel_regularizer=penalty()),
        layers.MaxPooling2D(),
        layers.Flatten(),
        layers.Dense(3, activation="softmax", kernel_regularizer=penalty()),
    ]
    model = build_chain(form, (16, 16, 3), parts)
    compile_model(model, "sparse_categorical_crossentropy", rate=3e-3)
    return Program(model, [size_data(seed)])


def broken(form: str, seed: int) -> Program:
    return _program(form, seed, 10.0)


def fixed(form: str, seed: int) -> Program:
    return _program(form, seed, 1e-5)


__all__ = ["EXPECT", "FORMS", "broken", "fixed"]
