"""QUICKSAL's decoder with the first kernel size in each branch: the branches see the same."""

from saldiag.selftest.program import Program, compile_model, mask_data
from saldiag.selftest.small_quicksal import small_quicksal

EXPECT = "SD104"
FORMS = ("quicksal",)


def _program(seed: int, *, identical: bool) -> Program:
    model = compile_model(small_quicksal(identical=identical), "binary_crossentropy")
    return Program(model, [mask_data(seed, 8)], 0)


def broken(form: str, seed: int) -> Program:
    return _program(seed, identical=True)


def fixed(form: str, seed: int) -> Program:
    return _program(seed, identical=False)


__all__ = ["EXPECT", "FORMS", "broken", "fixed"]
