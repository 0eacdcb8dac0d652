"""Pictures that were divided by 255 when they were read, and once more before training."""

from saldiag.selftest.program import (
    FORMS,
    Program,
    build_chain,
    class_data,
    compile_model,
    layers,
    np,
)

EXPECT = "SD612"


def _program(form: str, seed: int, divisor: float) -> Program:
    random = np.random.default_rng(seed)
    _, kinds = class_data(seed, 36)
    x = random.integers(0, 120, size=(36, 12, 12, 3)).astype("float32")
    for index, kind in enumerate(kinds):
        row, column = random.integers(0, 6, 2)
        x[index, row : row + 6, column : column + 6, kind] += 135
    parts = [
        layers.Conv2D(16, 3, activation="relu"),
        layers.MaxPooling2D(),
        layers.Conv2D(16, 3, activation="relu"),
        layers.GlobalAveragePooling2D(),
        layers.Dense(3, activation="softmax"),
    ]
    model = compile_model(build_chain(form, (12, 12, 3), parts), "sparse_categorical_crossentropy")
    return Program(model, [(x / divisor, kinds)])


def broken(form: str, seed: int) -> Program:
    return _program(form, seed, 255.0**2)


def fixed(form: str, seed: int) -> Program:
    return _program(form, seed, 255.0)


__all__ = ["EXPECT", "FORMS", "broken", "fixed"]
