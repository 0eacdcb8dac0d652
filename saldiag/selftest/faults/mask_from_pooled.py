"""Features are averaged over the whole picture, and the mask is made of the mean."""

from saldiag.selftest.program import FORMS, Program, build_chain, compile_model, layers, mask_data

EXPECT = "SD117"


def _program(form: str, seed: int, *, pooled: bool) -> Program:
    shrunk = [layers.MaxPooling2D(), layers.UpSampling2D()]
    if pooled:
        shrunk = [layers.GlobalAveragePooling2D(keepdims=True), layers.UpSampling2D(16)]
    parts = [
        layers.Conv2D(16, 3, padding="same", activation="relu"),
        layers.Conv2D(24, 3, padding="same", activation="relu"),
        *shrunk,
        layers.Conv2D(16, 3, padding="same", activation="relu"),
        layers.Conv2D(1, 3, padding="same", activation="sigmoid"),
    ]
    model = compile_model(build_chain(form, (16, 16, 3), parts), "binary_crossentropy")
    return Program(model, [mask_data(seed)], steps=120)


def broken(form: str, seed: int) -> Program:
    return _program(form, seed, pooled=True)


def fixed(form: str, seed: int) -> Program:
    return _program(form, seed, pooled=False)


__all__ = ["EXPECT", "FORMS", "broken", "fixed"]
