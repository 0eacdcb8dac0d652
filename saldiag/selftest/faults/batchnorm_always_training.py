"""BatchNorm called with ``training=True``: validation items are normalised by their own batch."""

from typing import Any

from saldiag.selftest.always_training import AlwaysTraining, AlwaysTrainingClassifier
from saldiag.selftest.program import Program, build_chain, compile_model, layers
from saldiag.selftest.validation_data import colour_data, fit_arguments, split_items

EXPECT = "SD410"
FORMS = ("functional", "subclassed", "nested")


def _model(form: str, always: bool) -> Any:
    norm = layers.BatchNormalization(momentum=0.8)
    if form == "subclassed":
        return AlwaysTrainingClassifier(norm, always)
    parts = [
        layers.Conv2D(8, 3, use_bias=False),
        AlwaysTraining(norm, always),
        layers.ReLU(),
        layers.GlobalAveragePooling2D(),
        layers.Dense(3, activation="softmax"),
    ]
    return build_chain(form, (12, 12, 3), parts)


def _program(form: str, seed: int, always: bool) -> Program:
    model = compile_model(_model(form, always), "sparse_categorical_crossentropy", rate=2e-2)
    train, (x, y) = split_items(colour_data(seed), 96)
    order = y.argsort(kind="stable")  # validation reads one folder after the other
    return Program(model, fit=fit_arguments(train, (x[order], y[order])))


def broken(form: str, seed: int) -> Program:
    return _program(form, seed, True)


def fixed(form: str, seed: int) -> Program:
    return _program(form, seed, False)


__all__ = ["EXPECT", "FORMS", "broken", "fixed"]
