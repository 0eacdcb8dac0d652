"""Pictures in 0 … 1 for an encoder that was trained on [-1, 1]."""

from saldiag.selftest.program import Program, compile_model, keras, layers, mask_data

EXPECT = "SD612"
FORMS = ("functional",)


def _program(seed: int, scale: float, offset: float) -> Program:
    x, masks = mask_data(seed)
    inputs = keras.Input((16, 16, 3))
    hidden = inputs
    for width in (8, 16):
        hidden = layers.Conv2D(width, 3, padding="same", use_bias=False)(hidden)
        hidden = layers.ReLU()(layers.BatchNormalization(momentum=0.8)(hidden))
    outputs = layers.Conv2D(1, 1, activation="sigmoid")(hidden)
    model = compile_model(keras.Model(inputs, outputs), "binary_crossentropy")
    return Program(model, [(x * scale + offset, masks)], 80, expected_range=(-1.0, 1.0))


def broken(form: str, seed: int) -> Program:
    return _program(seed, 0.5, 0.5)


def fixed(form: str, seed: int) -> Program:
    return _program(seed, 1.0, 0.0)


__all__ = ["EXPECT", "FORMS", "broken", "fixed"]
