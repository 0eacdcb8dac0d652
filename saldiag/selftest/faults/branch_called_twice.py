"""Two branches of convolutions that are one: the layer was made before the loop."""

from typing import Any

from saldiag.selftest.program import Program, compile_model, keras, layers, mask_data

EXPECT = "SD116"
FORMS = ("functional", "subclassed", "nested")


def _branch() -> Any:
    return keras.Sequential(
        [
            layers.Conv2D(8, 3, padding="same", activation="relu"),
            layers.Conv2D(8, 3, padding="same", activation="relu"),
        ]
    )


class Branches(keras.Model):
    def __init__(self, branches: Any) -> None:
        super().__init__(name="branches")
        self.branches = branches

    def call(self, inputs: Any) -> Any:
        return keras.ops.concatenate([branch(inputs) for branch in self.branches], axis=-1)


def _program(form: str, seed: int, *, shared: bool) -> Program:
    one = _branch()
    branches = [one, one if shared else _branch()]
    inputs = keras.Input((16, 16, 3))
    head = layers.Conv2D(1, 1, activation="sigmoid", name="head")
    model: Any
    if form == "functional":
        x = layers.Concatenate()([branch(inputs) for branch in branches])
        model = keras.Model(inputs, head(x))
    elif form == "nested":
        model = keras.Model(inputs, head(Branches(branches)(inputs)))
    else:
        model = keras.Sequential([Branches(branches), head])
    return Program(compile_model(model, "binary_crossentropy"), [mask_data(seed)], 60)


def broken(form: str, seed: int) -> Program:
    return _program(form, seed, shared=True)


def fixed(form: str, seed: int) -> Program:
    return _program(form, seed, shared=False)


__all__ = ["EXPECT", "FORMS", "broken", "fixed"]
