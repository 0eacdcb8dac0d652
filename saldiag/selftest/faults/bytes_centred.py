"""Pictures of bytes are centred before they are floats: below 128 they start again at 255."""

from __future__ import annotations

from typing import Any

from saldiag.selftest.program import Program, compile_model, keras, layers, mask_data, np

EXPECT = "SD506"
FORMS = ("functional", "subclassed", "nested")


def _centred(x: Any, *, floats: bool) -> Any:
    return ((keras.ops.cast(x, "float32") if floats else x) - 128) / 128


def _parts() -> list[Any]:
    return [
        layers.Conv2D(16, 3, padding="same", activation="relu"),
        layers.Conv2D(1, 3, padding="same", activation="sigmoid"),
    ]


class _Centring(keras.Model):
    """Takes bytes as they come."""

    def __init__(self, *, floats: bool) -> None:
        super().__init__(name="centring")
        self.floats = floats
        self.parts = _parts()

    def call(self, inputs: Any) -> Any:
        x = _centred(inputs, floats=self.floats)
        for part in self.parts:
            x = part(x)
        return x


def _built(form: str, *, floats: bool) -> Any:
    if form == "subclassed":
        return _Centring(floats=floats)
    inputs = keras.Input((16, 16, 3), dtype="uint8")
    x = _centred(inputs, floats=floats)
    if form == "nested":
        return keras.Model(inputs, keras.Sequential(_parts(), name="inner")(x))
    for part in _parts():
        x = part(x)
    return keras.Model(inputs, x)


def _program(form: str, seed: int, *, floats: bool) -> Program:
    x, masks = mask_data(seed)
    bytes_ = np.round((x + 1) * 127.5).astype("uint8")
    model = compile_model(_built(form, floats=floats), "binary_crossentropy")
    return Program(model, [(bytes_, masks)], steps=120)


def broken(form: str, seed: int) -> Program:
    return _program(form, seed, floats=False)


def fixed(form: str, seed: int) -> Program:
    return _program(form, seed, floats=True)


__all__ = ["EXPECT", "FORMS", "broken", "fixed"]
