"""Early stopping restores an early epoch, because slow BatchNorm statistics raise ``val_loss``."""

from saldiag.selftest.program import Program, build_chain, compile_model, keras, layers
from saldiag.selftest.validation_data import colour_data, fit_arguments, split_items

EXPECT = "SD802"
FORMS = ("sequential", "functional", "nested")


def _program(form: str, seed: int, momentum: float) -> Program:
    parts = [
        layers.Conv2D(8, 3, padding="same", use_bias=False),
        layers.BatchNormalization(momentum=momentum),
        layers.ReLU(),
        layers.Conv2D(8, 3, padding="same", use_bias=False),
        layers.BatchNormalization(momentum=momentum),
        layers.ReLU(),
        layers.GlobalAveragePooling2D(),
        layers.Dense(3, activation="softmax"),
    ]
    model = compile_model(build_chain(form, (12, 12, 3), parts), "sparse_categorical_crossentropy")
    stopping = keras.callbacks.EarlyStopping(
        "val_loss", patience=2, min_delta=0.05, restore_best_weights=True
    )
    items = split_items(colour_data(seed, light=0.1), 96)
    return Program(model, fit=fit_arguments(*items, epochs=12, callbacks=(stopping,)))


def broken(form: str, seed: int) -> Program:
    return _program(form, seed, 0.99)


def fixed(form: str, seed: int) -> Program:
    return _program(form, seed, 0.8)


__all__ = ["EXPECT", "FORMS", "broken", "fixed"]
