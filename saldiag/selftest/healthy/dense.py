"""Networks of dense layers."""

from saldiag.selftest.program import (
    FORMS,
    Maker,
    Program,
    chain,
    classes,
    compiled,
    curve,
    layers,
    numbers,
)


def _binary(form: str) -> Maker:
    def program(seed: int) -> Program:
        parts = [layers.Dense(32, activation="relu"), layers.Dense(1, activation="sigmoid")]
        return Program(compiled(chain(form, (8,), parts), "binary_crossentropy"), [numbers(seed)])

    program.__name__ = f"binary_{form}"
    return program


def three_classes(seed: int) -> Program:
    parts = [layers.Dense(32, activation="relu"), layers.Dense(3, activation="softmax")]
    model = compiled(chain("sequential", (8,), parts), "sparse_categorical_crossentropy")
    return Program(model, [classes(seed)])


def regression(seed: int) -> Program:
    parts = [layers.Dense(64, activation="relu"), layers.Dense(1)]
    return Program(compiled(chain("functional", (6,), parts), "mse"), [curve(seed)])


PROGRAMS = (*(_binary(form) for form in FORMS), three_classes, regression)
