"""Write and print the outcome."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import TYPE_CHECKING

from saldiag.core.diagnosis import Diagnosis

if TYPE_CHECKING:
    from saldiag.app.session import Session


def write_outcome(session: Session, diagnosis: Diagnosis) -> None:
    """Write ``diagnosis.json`` and everything that renderers draw, each whole or not at all."""
    from saldiag_reports.reporter import write_reports

    session.run.write_diagnosis(diagnosis)
    write_reports(_data(session, diagnosis), session.run.path)


def print_outcome(session: Session, diagnosis: Diagnosis) -> None:
    """Print the outcome on stdout, in the format that was asked for."""
    if session.output_format == "json":
        from saldiag_reports.json_report import render_json

        sys.stdout.write(render_json(_data(session, diagnosis)))
        return
    from saldiag_reports.text import print_text

    print_text(_data(session, diagnosis), session.run.path)


def _data(session: Session, diagnosis: Diagnosis):  # type: ignore[no-untyped-def]
    from saldiag_reports.data import ReportData

    info = replace(session.info, missing=dict(session.measured.missing))
    return ReportData(diagnosis=diagnosis, measured=session.measured, info=info)
