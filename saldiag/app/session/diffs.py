"""Adds diffs to diagnoses, and records in the run which files they apply to."""

from __future__ import annotations

from collections.abc import Sequence

from saldiag.core.files.fingerprints import Fingerprints, write_fingerprints
from saldiag.core.files.run import Run
from saldiag.core.findings.diagnosis import Diagnosis
from saldiag.core.measurement import Measurements


def add_diffs(
    judged: Sequence[tuple[Diagnosis, Measurements]], files: Fingerprints
) -> list[Diagnosis]:
    """The diagnoses of all models of a program, with a diff for each finding whose edit is certain.

    Args:
        judged: each diagnosis with the measurements that it was made from.
        files: fingerprints of the user's files as they were when the program ran.
    """
    from saldiag.repair.findings import with_diffs

    return with_diffs(judged, files)


def write_edited_fingerprints(run: Run, diagnosis: Diagnosis, files: Fingerprints) -> None:
    """Write the fingerprints of the files that the diagnosis edits into the run.

    Raises:
        OSError: the file cannot be written.
    """
    edited = [edit.source.file for finding in diagnosis.findings for edit in finding.edits]
    write_fingerprints(run.path, files.only(edited))
