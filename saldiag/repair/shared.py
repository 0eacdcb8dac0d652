"""Whether a line makes more than what is to be changed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from saldiag.core.findings.diagnosis import Diagnosis
from saldiag.core.findings.edit import COMPILE, Edit
from saldiag.core.measurement import Measurements, ProgramPlaces, Wiring
from saldiag.repair.errors import Uncertain

JudgedModel = tuple[Diagnosis, Measurements]


def check_line_not_shared(edit: Edit, judged: Sequence[JudgedModel]) -> None:
    """What stands at the edit's line is changed for all that the program makes there.

    Args:
        edit: the edit.
        judged: all models of the program, with what is said of each.

    Raises:
        Uncertain: the line makes a layer, or compiles a model, that is to stay as it is.
    """
    for diagnosis, measured in judged:
        wanted = {
            other.layer
            for finding in diagnosis.findings
            for other in finding.edits
            if _is_same_change(edit, other)
        }
        if not wanted.issuperset(_layers_made_at(edit, measured)):
            what = "compiles other models" if edit.call == COMPILE or edit.within else "makes other"
            layers = "" if "models" in what else " layers"
            raise Uncertain(f"line {edit.source.line} {what}{layers} as well")


def _is_same_change(one: Edit, other: Edit) -> bool:
    places = [(e.source, e.call, e.argument, e.new, e.within) for e in (one, other)]
    return places[0] == places[1]


def _layers_made_at(edit: Edit, measured: Measurements) -> Iterator[str]:
    """The layers of the edit's class that are made at its line; ``""`` for a model compiled."""
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
