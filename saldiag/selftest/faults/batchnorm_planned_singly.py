"""BatchNorm over dense features, and ``batch_size=1`` in ``fit``."""

from saldiag.selftest.program import (
    FORMS,
    FitPlan,
    Program,
    build_chain,
    class_data,
    compile_model,
    layers,
)

EXPECT = "SD703"


def _program(form: str, seed: int, size: int) -> Program:
    x, kinds = class_data(seed)
    parts = [
        layers.Dense(32),
        layers.BatchNormalization(momentum=0.8),
        layers.ReLU(),
        layers.Dense(3, activation="softmax"),
    ]
    model = compile_model(build_chain(form, (8,), parts), "sparse_categorical_crossentropy")
    return Program(model, [(x, kinds)], plan=FitPlan(data=(x, kinds), batch_size=size))


def broken(form: str, seed: int) -> Program:
    return _program(form, seed, 1)


def fixed(form: str, seed: int) -> Program:
    return _program(form, seed, 16)


__all__ = ["EXPECT", "FORMS", "broken", "fixed"]
