"""BatchNorm on 1x1 maps with two pictures in a batch: every value becomes +1 or -1."""

from saldiag.selftest.program import FORMS, Program, build_chain, compile_model, layers, mask_data

EXPECT = "SD703"


def _program(form: str, seed: int, size: int) -> Program:
    parts = []
    for width in (8, 16, 32, 32):
        parts += [
            layers.Conv2D(width, 3, strides=2, padding="same", use_bias=False),
            layers.BatchNormalization(momentum=0.9),
            layers.ReLU(),
        ]
    parts += [layers.Flatten(), layers.Dense(1, activation="sigmoid")]
    x, masks = mask_data(seed, 16)
    y = (masks.sum(axis=(1, 2), keepdims=False) * 0 + x[:, :8].mean(axis=(1, 2, 3))[:, None]) > -0.4
    batches = [(x[i : i + size], y[i : i + size].astype("float32")) for i in range(0, 16, size)]
    return Program(
        compile_model(build_chain(form, (16, 16, 3), parts), "binary_crossentropy"), batches, 80
    )


def broken(form: str, seed: int) -> Program:
    return _program(form, seed, 2)


def fixed(form: str, seed: int) -> Program:
    return _program(form, seed, 16)


__all__ = ["EXPECT", "FORMS", "broken", "fixed"]
