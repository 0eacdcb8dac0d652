"""One batch followed through a subject's model, into the session."""

from __future__ import annotations

from typing import Any

from saldiag.app.load import Subject
from saldiag.app.session import Session
from saldiag.core.errors import SaldiagError
from saldiag.core.measurement import Activations, DtypeTrace, GradientFlow, Wiring


def follow_batch(
    session: Session, subject: Subject, batch: Any, *, flow: bool = True, activations: bool = True
) -> None:
    """Measure wiring and dtypes, and if asked gradient flow and activations, in training mode.

    Raises:
        SaldiagError: the model cannot be called on this batch.
    """
    from saldiag_probes.calls import CannotMeasure
    from saldiag_probes.survey import survey

    with session.phase("following one batch through the model"):
        try:
            seen = survey(
                subject.model,
                batch,
                flow=flow,
                activations=activations,
                sources=subject.sources,
                origins=subject.origins,
            )
        except CannotMeasure as error:
            raise SaldiagError(error.reason) from error
    session.add(seen.wiring, seen.flow, seen.dtypes, seen.activations)
    for kind in (Wiring, GradientFlow, DtypeTrace, Activations):
        if kind.key in seen.missing:
            session.missing(kind, seen.missing[kind.key])
