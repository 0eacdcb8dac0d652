"""A fully convolutional network takes validation pictures of another size than it trained on."""

from typing import Any

from saldiag.selftest.program import Program, build_chain, compile_model, keras, layers, np
from saldiag.selftest.validation_data import fit_arguments, split_items

EXPECT = "SD614"
FORMS = ("sequential", "functional", "subclassed")


def _striped(seed: int) -> Any:
    """Pictures (144, 16, 16, 3) with stripes of width 2, 4 or 8, in some direction."""
    random = np.random.default_rng(seed)
    kinds = np.arange(144) % 3
    places = np.arange(16)
    x = random.normal(scale=0.1, size=(144, 16, 16, 3))
    for index, kind in enumerate(kinds):
        along = np.sin((places + random.integers(16)) * np.pi / (1, 2, 4)[kind])
        x[index] += (along[:, None] if random.random() < 0.5 else along[None])[..., None]
    return x.astype("float32"), kinds


def _program(form: str, seed: int, size: int) -> Program:
    train, (x, y) = split_items(_striped(seed), 96)
    parts = [
        layers.Conv2D(16, 5, activation="relu"),
        layers.Conv2D(16, 3, activation="relu"),
        layers.GlobalAveragePooling2D(),
        layers.Dense(3, activation="softmax"),
    ]
    model = build_chain(form, (None, None, 3), parts)
    compile_model(model, "sparse_categorical_crossentropy")
    held_out = np.asarray(keras.ops.image.resize(x, (size, size), interpolation="nearest"))
    return Program(model, fit=fit_arguments(train, (held_out, y)))


def broken(form: str, seed: int) -> Program:
    return _program(form, seed, 32)


def fixed(form: str, seed: int) -> Program:
    return _program(form, seed, 16)


__all__ = ["EXPECT", "FORMS", "broken", "fixed"]
