"""BatchNorm with momentum 0.99 and 72 steps, on dark pictures: its statistics lag the batches'."""

from saldiag.selftest.program import FORMS, Program, build_chain, compile_model, layers
from saldiag.selftest.validation_data import colour_data, fit_arguments, split_items

EXPECT = "SD802"


def _program(form: str, seed: int, momentum: float) -> Program:
    parts = [
        layers.Conv2D(8, 3, use_bias=False),
        layers.BatchNormalization(momentum=momentum),
        layers.Activation("relu"),
        layers.Conv2D(8, 3, use_bias=False),
        layers.BatchNormalization(momentum=momentum),
        layers.Activation("relu"),
        layers.GlobalAveragePooling2D(),
        layers.Dense(3, activation="softmax"),
    ]
    model = compile_model(build_chain(form, (12, 12, 3), parts), "sparse_categorical_crossentropy")
    return Program(
        model, fit=fit_arguments(*split_items(colour_data(seed, light=0.1), 96), epochs=6)
    )


def broken(form: str, seed: int) -> Program:
    return _program(form, seed, 0.99)


def fixed(form: str, seed: int) -> Program:
    return _program(form, seed, 0.9)


__all__ = ["EXPECT", "FORMS", "broken", "fixed"]
