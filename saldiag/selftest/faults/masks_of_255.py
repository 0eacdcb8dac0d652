"""Masks in 0 and 255 under a sigmoid."""

from saldiag.selftest.program import FORMS as CHAINS
from saldiag.selftest.program import Program, build_chain, compile_model, layers, mask_data
from saldiag.selftest.small_quicksal import small_quicksal

EXPECT = "SD602"
FORMS = (*CHAINS, "quicksal")


def _program(form: str, seed: int, scale: float) -> Program:
    x, masks = mask_data(seed)
    if form == "quicksal":
        return Program(compile_model(small_quicksal(), "mae"), [(x, masks * scale)], 0)
    parts = [
        layers.Conv2D(16, 3, padding="same", activation="relu"),
        layers.Conv2D(1, 3, padding="same", activation="sigmoid"),
    ]
    model = compile_model(build_chain(form, (16, 16, 3), parts), "mse")
    return Program(model, [(x, masks * scale)])


def broken(form: str, seed: int) -> Program:
    return _program(form, seed, 255.0)


def fixed(form: str, seed: int) -> Program:
    return _program(form, seed, 1.0)


__all__ = ["EXPECT", "FORMS", "broken", "fixed"]
