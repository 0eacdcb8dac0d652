"""A filter that silences a whole category of warnings."""

from __future__ import annotations

from saldiag.core.measurement import Measurements, RecordedWarning, Source, WarningLog
from tests.support.measurements import healthy


def _log(silenced: bool) -> WarningLog:
    by = Source("project/quiet.py", 3) if silenced else None
    text = "The structure of `inputs` doesn't match the expected structure."
    return WarningLog((
        RecordedWarning("UserWarning", text, "project/model.py", 7, silenced, 2, by),
        RecordedWarning("DeprecationWarning", "old", "project/model.py", 8, True),
    ))  # fmt: skip


def broken() -> Measurements:
    return healthy(_log(silenced=True))


def fixed() -> Measurements:
    return healthy(_log(silenced=False))
