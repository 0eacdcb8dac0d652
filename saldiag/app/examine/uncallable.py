"""A model that cannot be called or trained at all: the error as findings, where rules can tell."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from saldiag.app.examine.examination import Examination
from saldiag.app.session.collector import Collector
from saldiag.app.session.session import Session
from saldiag.app.subject.subject import Subject
from saldiag.core.errors import SaldiagError
from saldiag.core.findings.diagnosis import Verdict
from saldiag.core.interrupts import reraise_interrupt
from saldiag.core.measurement import During, ProgramError, Source
from saldiag.core.wording import printable
from saldiag.keras_internals.layers import flattened_layers
from saldiag.rules.shared.error_messages import is_known

TOLD = {
    "call": "the model cannot be called on these data",
    "training": "the model cannot be trained on these data",
}


class ModelUnusable(Exception):  # noqa: N818 - an outcome, whose findings are in the collector
    """The model cannot be called or trained, and findings say why; the text is a line on it."""


def unless_unusable(session: Session, work: Callable[[], Verdict]) -> Verdict:
    """Do a command's work; a model that cannot be called does not learn, and the user is told."""
    try:
        return work()
    except ModelUnusable as told:
        session.note(str(told))
        return "does_not_learn"


@contextmanager
def explaining(examination: Examination, during: During) -> Iterator[None]:
    """What the model raises in the block becomes findings.

    Raises:
        Refused: there are some.
        Exception: whatever was raised, where no rule can tell what it means.
    """
    from saldiag_probes.trace.errors import error_summary

    try:
        yield
    except Exception as error:
        reraise_interrupt(error)
        root = _root(error)
        if not _explained(examination.session, examination.subject, root, during):
            raise
        raise ModelUnusable(printable(f"{TOLD[during]}: {error_summary(root)}")) from error


def _root(error: Exception) -> Exception:
    """What the model itself raised: probes hand it on in words of their own."""
    from saldiag_probes.trace.errors import CannotMeasure

    while isinstance(error, (SaldiagError, CannotMeasure)):
        if not isinstance(error.__cause__, Exception):
            break
        error = error.__cause__
    return error


def _explained(collector: Collector, subject: Subject, error: Exception, during: During) -> bool:
    """Whether a finding is grave enough to be the reason; the error is among what rules judge."""
    from saldiag.subject.program.crash import program_error

    found = program_error(error, _made(subject), during=during)
    if is_known(found):
        collector.add(found)
    else:
        collector.missing(ProgramError, "the error is no known one")
    return collector.judge("not_tested").failed("error")


def _made(subject: Subject) -> dict[str, Source]:
    """Where the model's layers were made, by their names."""
    layers = {id(layer): str(layer.name) for layer in flattened_layers(subject.model)}
    return {layers[key]: at for key, at in subject.sources.items() if key in layers}
