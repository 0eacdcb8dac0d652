"""Adds diffs to diagnoses, and keeps in the run which files they are for."""

from __future__ import annotations

from collections.abc import Sequence

from saldiag.core.files.fingerprints import Fingerprints, write_fingerprints
from saldiag.core.files.run import Run
from saldiag.core.findings.diagnosis import Diagnosis
from saldiag.core.measurement import Measurements


def with_diffs_added(
    judged: Sequence[tuple[Diagnosis, Measurements]], files: Fingerprints
) -> list[Diagnosis]:
    """The diagnoses of all models of a program, with a diff wherever an edit is certain.

    Args:
        judged: each diagnosis with what it was made from.
        files: the user's files as they were when the program ran.
    """
    from saldiag.repair.findings import with_diffs

    return with_diffs(judged, files)


def keep_fingerprints(run: Run, diagnosis: Diagnosis, files: Fingerprints) -> None:
    """Write into the run the fingerprints of the files that its edits are for.

    Raises:
        OSError: they cannot be written.
    """
    edited = [edit.source.file for finding in diagnosis.findings for edit in finding.edits]
    write_fingerprints(run.path, files.only(edited))
