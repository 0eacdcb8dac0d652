"""Weights in float16 altogether, under an Adam whose epsilon is 1e-8, which is 0 there."""

from saldiag.selftest.program import (
    FORMS,
    Program,
    build_chain,
    class_data,
    compile_model,
    keras,
    layers,
)

EXPECT = "SD507"


def _program(form: str, seed: int, policy: str) -> Program:
    keras.config.set_dtype_policy(policy)
    parts = [
        layers.Dense(32, activation="tanh"),
        layers.Dense(3, activation="softmax", dtype="float32"),
    ]
    scaled = keras.optimizers.LossScaleOptimizer(keras.optimizers.Adam(1e-2, epsilon=1e-8))
    model = compile_model(
        build_chain(form, (8,), parts), "sparse_categorical_crossentropy", optimizer=scaled
    )
    return Program(model, [class_data(seed)])


def broken(form: str, seed: int) -> Program:
    return _program(form, seed, "float16")


def fixed(form: str, seed: int) -> Program:
    return _program(form, seed, "mixed_float16")


__all__ = ["EXPECT", "FORMS", "broken", "fixed"]
