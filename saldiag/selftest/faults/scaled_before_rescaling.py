"""Pictures in 0 … 1, or [-1, 1], for a model whose first layer rescales 0 … 255."""

from saldiag.selftest.program import FORMS, Program, build_chain, compile_model, layers, mask_data

EXPECT = "SD612"


def _program(form: str, seed: int, *, raw: bool) -> Program:
    x, masks = mask_data(seed)
    pixels = (x + 1) * 127.5
    ready = x if form == "functional" else pixels / 255
    scaling = (
        layers.Rescaling(1 / 127.5, offset=-1.0)
        if form in {"functional", "nested"}
        else layers.Rescaling(1 / 255.0)
    )
    parts = [
        scaling,
        layers.Conv2D(16, 3, padding="same", activation="relu"),
        layers.Conv2D(1, 3, padding="same", activation="sigmoid"),
    ]
    model = compile_model(build_chain(form, (16, 16, 3), parts), "binary_crossentropy")
    return Program(model, [(pixels if raw else ready, masks)])


def broken(form: str, seed: int) -> Program:
    return _program(form, seed, raw=False)


def fixed(form: str, seed: int) -> Program:
    return _program(form, seed, raw=True)


__all__ = ["EXPECT", "FORMS", "broken", "fixed"]
