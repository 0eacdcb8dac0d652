"""Dropout, noise or augmentation called with ``training=True``: they work in inference as well."""

from typing import Any

from saldiag.selftest.always_training import AlwaysTraining, AlwaysTrainingClassifier
from saldiag.selftest.program import Program, build_chain, compile_model, layers
from saldiag.selftest.validation_data import colour_data, fit_arguments, split_items

EXPECT = "SD410"
FORMS = ("dropout", "noise", "translation", "subclassed", "nested")


def _model(form: str, always: bool) -> Any:
    if form == "subclassed":
        return AlwaysTrainingClassifier(layers.SpatialDropout2D(0.6), always)
    parts = [
        layers.Conv2D(8, 3, activation="relu"),
        layers.GlobalAveragePooling2D(),
        layers.Dense(3, activation="softmax"),
    ]
    if form == "noise":
        parts.insert(0, AlwaysTraining(layers.GaussianNoise(1.0), always))
    elif form == "translation":
        moved = layers.RandomTranslation(0.95, 0.95, fill_mode="constant")
        parts.insert(0, AlwaysTraining(moved, always))
    else:
        parts.insert(1 if form == "nested" else 2, AlwaysTraining(layers.Dropout(0.7), always))
    built = {"dropout": "sequential", "noise": "functional", "translation": "sequential"}
    return build_chain(built.get(form, "nested"), (12, 12, 3), parts)


def _program(form: str, seed: int, always: bool) -> Program:
    model = compile_model(_model(form, always), "sparse_categorical_crossentropy", rate=3e-2)
    return Program(model, fit=fit_arguments(*split_items(colour_data(seed), 96)))


def broken(form: str, seed: int) -> Program:
    return _program(form, seed, True)


def fixed(form: str, seed: int) -> Program:
    return _program(form, seed, False)


__all__ = ["EXPECT", "FORMS", "broken", "fixed"]
