"""Strides shrink the map once too often: to 1x1, and the decoder has nothing else to go by."""

from typing import Any

from saldiag.selftest.program import Program, build_chain, compile_model, keras, layers, mask_data

EXPECT = "SD117"
FORMS = ("sequential", "functional", "subclassed", "nested")


def _down(width: int) -> Any:
    return layers.SeparableConv2D(width, 3, strides=2, padding="same", activation="relu")


def _up(width: int) -> Any:
    return layers.Conv2DTranspose(width, 2, strides=2, activation="relu")


def _head() -> Any:
    return layers.Conv2D(2, 3, padding="same", activation="softmax")


def broken(form: str, seed: int) -> Program:
    turns = (12, 16, 24, 32)
    parts = [*map(_down, turns), *map(_up, reversed(turns)), _head()]
    model = compile_model(build_chain(form, (16, 16, 3), parts), "sparse_categorical_crossentropy")
    return Program(model, [mask_data(seed)], steps=120)


class _Unet(keras.Model):
    """The same, with every map handed across to the decoder."""

    def __init__(self) -> None:
        super().__init__(name="unet")
        self.down = [_down(width) for width in (12, 16, 24, 32)]
        self.up = [_up(width) for width in (32, 24, 16, 12)]
        self.join = layers.Concatenate()
        self.head = _head()

    def call(self, inputs: Any) -> Any:
        maps = [inputs]
        for layer in self.down:
            maps.append(layer(maps[-1]))
        x = maps.pop()
        for layer in self.up:
            x = self.join([layer(x), maps.pop()])
        return self.head(x)


def fixed(form: str, seed: int) -> Program:
    loss = "sparse_categorical_crossentropy"
    if form == "subclassed":
        return Program(compile_model(_Unet(), loss), [mask_data(seed)], steps=120)
    turns = (12, 16)
    parts = [*map(_down, turns), *map(_up, reversed(turns)), _head()]
    return Program(
        compile_model(build_chain(form, (16, 16, 3), parts), loss), [mask_data(seed)], steps=120
    )


__all__ = ["EXPECT", "FORMS", "broken", "fixed"]
