"""Puts diffs into diagnoses when a run is made, and keeps which files they are for."""

from __future__ import annotations

from collections.abc import Sequence

from saldiag.core.files.fingerprints import Fingerprints, write_fingerprints
from saldiag.core.files.run import Run
from saldiag.core.findings.diagnosis import Diagnosis
from saldiag.core.measurement import Measurements


def repaired(
    judged: Sequence[tuple[Diagnosis, Measurements]], known: Fingerprints | None = None
) -> list[Diagnosis]:
    """The diagnoses of all models of a program, with a diff wherever the edit is certain.

    ``known``: the files as they were; default: as they were seen while this program ran.
    """
    from saldiag.repair.findings import with_diffs
    from saldiag.subject.source.stack_frames import FILES

    return with_diffs(judged, FILES.fingerprints() if known is None else known)


def keep_fingerprints(run: Run, diagnosis: Diagnosis) -> None:
    """Keep in the run which files its edits are for.

    Raises:
        OSError: it cannot be written.
    """
    from saldiag.subject.source.stack_frames import FILES

    files = [edit.source.file for finding in diagnosis.findings for edit in finding.edits]
    write_fingerprints(run.path, FILES.fingerprints().only(files))
