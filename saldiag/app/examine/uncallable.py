"""Turns the error of a model that cannot be called or trained into findings, if a rule knows it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from saldiag.app.examine.examination import Examination
from saldiag.app.loading.subject import Subject
from saldiag.app.session.collector import Collector
from saldiag.app.session.session import Session
from saldiag.core.errors import SaldiagError
from saldiag.core.findings.diagnosis import Verdict
from saldiag.core.interrupts import reraise_interrupt
from saldiag.core.measurement import During, ProgramError, Source
from saldiag.core.wording import printable
from saldiag.keras_internals.layers import flattened_layers
from saldiag.rules.shared.error_messages import is_known

UNUSABLE_MESSAGES = {
    "call": "the model cannot be called on this data",
    "training": "the model cannot be trained on this data",
}
"""Message of ``ModelUnusable`` by the operation that failed; the error's text follows."""


class ModelUnusable(Exception):  # noqa: N818 - an outcome, whose findings are in the collector
    """The model cannot be called or trained, and findings explain why; its text is one line."""


def run_unless_unusable(session: Session, work: Callable[[], Verdict]) -> Verdict:
    """Run a command's work; if the model is unusable, print why and return ``does_not_learn``."""
    try:
        return work()
    except ModelUnusable as error:
        session.print_note(str(error))
        return "does_not_learn"


@contextmanager
def errors_as_findings(examination: Examination, during: During) -> Iterator[None]:
    """Turn an error that the model raises in the block into findings.

    Args:
        examination: the examination of the model; its session gets the error.
        during: the operation in the block.

    Raises:
        ModelUnusable: a rule explains the error.
        Exception: the model's own error, if no rule explains it.
    """
    from saldiag_probes.trace.errors import error_summary

    try:
        yield
    except Exception as error:
        reraise_interrupt(error)
        root = _original_error(error)
        if not _is_explained(examination.session, examination.subject, root, during):
            raise
        raise ModelUnusable(
            printable(f"{UNUSABLE_MESSAGES[during]}: {error_summary(root)}")
        ) from error


def _original_error(error: Exception) -> Exception:
    """The error that the model itself raised: probes wrap it in errors of their own."""
    from saldiag_probes.trace.errors import CannotMeasure

    while isinstance(error, (SaldiagError, CannotMeasure)):
        if not isinstance(error.__cause__, Exception):
            break
        error = error.__cause__
    return error


def _is_explained(collector: Collector, subject: Subject, error: Exception, during: During) -> bool:
    """Add the error to the measurements; returns whether a finding of severity error results."""
    from saldiag.subject.program.crash import program_error

    found = program_error(error, _layer_source_lines(subject), during=during)
    if is_known(found):
        collector.add(found)
    else:
        collector.mark_missing(ProgramError, "the error is not a known one")
    return collector.judge("not_tested").failed("error")


def _layer_source_lines(subject: Subject) -> dict[str, Source]:
    """The lines of the program that made the model's layers, by the names of the layers."""
    layers = {id(layer): str(layer.name) for layer in flattened_layers(subject.model)}
    return {layers[key]: at for key, at in subject.sources.items() if key in layers}
