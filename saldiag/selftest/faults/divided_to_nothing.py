"""Pictures of bytes, divided by 255 in whole numbers: black, but for what is white."""

from typing import Any

from saldiag.selftest.program import (
    FORMS,
    Program,
    build_chain,
    compile_model,
    keras,
    layers,
    np,
    size_data,
)

EXPECT = "SD506"


class Scale(layers.Layer):
    """To 0 … 1, by a division of floats or of whole numbers."""

    def __init__(self, *, floats: bool) -> None:
        super().__init__(name="scale")
        self.floats = floats

    def call(self, inputs: Any) -> Any:
        if self.floats:
            return keras.ops.cast(inputs, "float32") / 255.0
        return keras.ops.cast(keras.ops.cast(inputs, "uint8") // 255, "float32")


def _program(form: str, seed: int, *, floats: bool) -> Program:
    parts = [
        Scale(floats=floats),
        layers.Conv2D(8, 3, activation="relu"),
        layers.GlobalAveragePooling2D(),
        layers.Dense(32, activation="relu"),
        layers.Dense(3, activation="softmax"),
    ]
    x, kinds = size_data(seed)
    pixels = np.clip((x + 1) * 120, 0, 250).astype("uint8")
    model = compile_model(build_chain(form, (16, 16, 3), parts), "sparse_categorical_crossentropy")
    return Program(model, [(pixels, kinds)], 200)


def broken(form: str, seed: int) -> Program:
    return _program(form, seed, floats=False)


def fixed(form: str, seed: int) -> Program:
    return _program(form, seed, floats=True)


__all__ = ["EXPECT", "FORMS", "broken", "fixed"]
