"""Findings in a program stand at the line that is to be changed."""

from __future__ import annotations

from importlib import import_module

import pytest

from saldiag.core.measurement import ProgramPlaces, Source
from tests.support.judging import run

COMPILED = Source("train.py", 9, "model.compile(loss=loss)")


@pytest.mark.parametrize(
    "fault",
    [
        "sd106_logits_taken_for_probabilities",
        "sd118_output_without_loss",
        "sd406_unfrozen_after_compile",
    ],
)
@pytest.mark.parametrize("compiled", [COMPILED, None])
def test_compile_arguments_are_changed_at_the_compile_call(fault, compiled):
    measured = import_module(f"tests.faults.{fault}").broken()
    places = ProgramPlaces(compiled, Source("train.py", 12, "model.fit(x, y)"))
    alone = run(measured, fault[:5].upper()).findings[0]
    finding = run(measured.with_(places), fault[:5].upper()).findings[0]
    assert finding.source == (compiled or alone.source or places.trained)
    assert ("train.py:9" in finding.message) == (compiled is not None)
