"""Networks of dense layers."""

from saldiag.selftest.program import (
    FORMS,
    Maker,
    Program,
    binary_data,
    build_chain,
    class_data,
    compile_model,
    layers,
    regression_data,
)


def _binary(form: str) -> Maker:
    def program(seed: int) -> Program:
        parts = [layers.Dense(32, activation="relu"), layers.Dense(1, activation="sigmoid")]
        return Program(
            compile_model(build_chain(form, (8,), parts), "binary_crossentropy"),
            [binary_data(seed)],
        )

    program.__name__ = f"binary_{form}"
    return program


def three_classes(seed: int) -> Program:
    parts = [layers.Dense(32, activation="relu"), layers.Dense(3, activation="softmax")]
    model = compile_model(build_chain("sequential", (8,), parts), "sparse_categorical_crossentropy")
    return Program(model, [class_data(seed)])


def regression(seed: int) -> Program:
    parts = [layers.Dense(64, activation="relu"), layers.Dense(1)]
    return Program(
        compile_model(build_chain("functional", (6,), parts), "mse"), [regression_data(seed)]
    )


PROGRAMS = (*(_binary(form) for form in FORMS), three_classes, regression)
