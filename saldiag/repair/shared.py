"""Checking that a line creates only what is to be changed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from saldiag.core.findings.diagnosis import Diagnosis
from saldiag.core.findings.edit import COMPILE, Edit
from saldiag.core.measurement import Measurements, ProgramPlaces, Wiring
from saldiag.repair.errors import Uncertain

JudgedModel = tuple[Diagnosis, Measurements]


def check_line_not_shared(edit: Edit, judged: Sequence[JudgedModel]) -> None:
    """Refuse an edit of a line that also creates layers, or compiles models, without that fault.

    Args:
        edit: the edit.
        judged: diagnosis and measurements of each model of the program.

    Raises:
        Uncertain: the line creates a layer, or compiles a model, that no finding wants to change.
    """
    for diagnosis, measured in judged:
        changed = {
            other.layer
            for finding in diagnosis.findings
            for other in finding.edits
            if _is_same_change(edit, other)
        }
        if not changed.issuperset(_layers_made_at(edit, measured)):
            compiles = edit.call == COMPILE or edit.within
            other = "compiles other models" if compiles else "creates other layers"
            raise Uncertain(f"line {edit.source.line} {other}, too")


def _is_same_change(one: Edit, other: Edit) -> bool:
    keys = [(e.source, e.call, e.argument, e.new, e.within) for e in (one, other)]
    return keys[0] == keys[1]


def _layers_made_at(edit: Edit, measured: Measurements) -> Iterator[str]:
    """Layers of the edit's class created at its line; ``""`` for a model compiled there."""
    if edit.within or edit.call == COMPILE:
        places = measured.get(ProgramPlaces)
        if places is not None and places.compiled == edit.source:
            yield ""
        return
    wiring = measured.get(Wiring)
    if wiring is None:
        return
    for call in wiring.calls:
        if call.source == edit.source and call.kind == edit.call:
            yield call.layer
    for idle in wiring.uncalled:
        if idle.source == edit.source and idle.kinds[:1] == (edit.call,):
            yield idle.path
