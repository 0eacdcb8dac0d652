"""Segmentation by convolutions and BatchNorm, and no activation before the last."""

from saldiag.selftest.program import FORMS, Program, build_chain, compile_model, layers, mask_data

EXPECT = "SD109"


def _program(form: str, seed: int, activation: str) -> Program:
    parts = [
        layers.Conv2D(12, 3, padding="same", use_bias=False, name="first"),
        layers.BatchNormalization(momentum=0.8),
        layers.Activation(activation),
        layers.Conv2D(1, 3, padding="same", activation="sigmoid", name="answer"),
    ]
    model = compile_model(build_chain(form, (16, 16, 3), parts), "binary_crossentropy")
    return Program(model, [mask_data(seed)], steps=60)


def broken(form: str, seed: int) -> Program:
    return _program(form, seed, "linear")


def fixed(form: str, seed: int) -> Program:
    return _program(form, seed, "relu")


__all__ = ["EXPECT", "FORMS", "broken", "fixed"]
