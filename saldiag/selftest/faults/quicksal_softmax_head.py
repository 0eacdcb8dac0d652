"""QUICKSAL as reported: a softmax over the one channel of its map, and another after it."""

from collections.abc import Collection
from typing import Any

from saldiag.selftest.program import Program, compile_model, mask_data

EXPECT = "SD101"
FORMS = ("alone", "whole_case")
TWINS = ("alone",)
SIDE = 64


def program(seed: int, faults: Collection[str], **options: Any) -> Program:
    """The model of the case with these faults, small, at a random start, before a step."""
    from saldiag.quicksal.as_reported import quicksal_as_reported

    options.setdefault("weights", "random")
    model = quicksal_as_reported(faults, SIDE, seed=seed, **options)
    return Program(compile_model(model, "mae", rate=1e-3), [mask_data(seed, 4, SIDE)], 0)


def broken(form: str, seed: int) -> Program:
    from saldiag.quicksal.as_reported import FAULTS

    return program(seed, FAULTS if form == "whole_case" else {"softmax_head"})


def fixed(form: str, seed: int) -> Program:
    return program(seed, ())


__all__ = ["EXPECT", "FORMS", "TWINS", "broken", "fixed"]
