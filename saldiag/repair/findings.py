"""Diffs for findings, each computed alone against the files as they were during the run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from saldiag.core.files.fingerprints import Fingerprint, Fingerprints
from saldiag.core.files.sources import digest
from saldiag.core.findings.diagnosis import Diagnosis
from saldiag.core.findings.edit import Edit
from saldiag.core.findings.finding import Finding
from saldiag.repair.diff import unified_diff
from saldiag.repair.edits import apply_edits
from saldiag.repair.errors import Uncertain
from saldiag.repair.shared import JudgedModel, check_line_not_shared
from saldiag.repair.source import PythonFile

_INSTALLED = ("site-packages", "dist-packages")
SALDIAG_FOLDER = Path(__file__).resolve().parents[1]
"""saldiag's own package: edits of its built-in models are shown, but never written."""


class FileChanged(Exception):  # noqa: N818 - an outcome, not an error
    """A file has changed since the run; the message names it."""


@dataclass(frozen=True)
class FixedFile:
    """A file before and after its edits."""

    fingerprint: Fingerprint
    """Names and hash of the file."""
    before: bytes
    """Its content during the run."""
    after: bytes
    """Its content with the edits."""

    def diff_text(self) -> str:
        """The diff as text; the file's encoding does not matter."""
        encoding = PythonFile.from_bytes(self.before).encoding
        sides = [side.decode(encoding).encode() for side in (self.before, self.after)]
        return unified_diff(self.fingerprint.file, *sides).decode("utf-8", "surrogateescape")


def with_diffs(judged: Sequence[JudgedModel], fingerprints: Fingerprints) -> list[Diagnosis]:
    """The diagnoses of a program's models, each finding with a diff or the reason for none.

    Args:
        judged: diagnosis and measurements of each model.
        fingerprints: the user's files as they were during the run.
    """
    return [
        replace(
            diagnosis,
            findings=tuple(
                _with_diff(finding, judged, fingerprints) for finding in diagnosis.findings
            ),
        )
        for diagnosis, _ in judged
    ]


def _with_diff(
    finding: Finding, judged: Sequence[JudgedModel], fingerprints: Fingerprints
) -> Finding:
    if not finding.edits:
        return finding
    try:
        files = fix_files([finding], judged, fingerprints)
        return replace(finding, diff="".join(file.diff_text() for file in files), by_hand="")
    except (Uncertain, FileChanged) as reason:
        return replace(finding, diff="", by_hand=str(reason))


def fix_files(
    findings: Sequence[Finding], judged: Sequence[JudgedModel], fingerprints: Fingerprints
) -> list[FixedFile]:
    """Every file that the findings edit, with all edits applied.

    Args:
        findings: findings with edits.
        judged: diagnosis and measurements of each model of the program.
        fingerprints: the user's files as they were during the run.

    Raises:
        Uncertain: it is uncertain how to apply an edit.
        FileChanged: a file has changed since the run.
    """
    edits = [edit for finding in findings for edit in finding.edits]
    for edit in edits:
        check_line_not_shared(edit, judged)
    names = dict.fromkeys(edit.source.file for edit in edits)
    return [
        _fixed_file(file, fingerprints, [edit for edit in edits if edit.source.file == file])
        for file in names
    ]  # fmt: skip


def _fixed_file(file: str, fingerprints: Fingerprints, edits: Sequence[Edit]) -> FixedFile:
    fingerprint = fingerprints.of(file)
    if fingerprint is None:
        is_cell = file.endswith("]") or file.startswith("<")
        raise Uncertain("it is in a notebook cell" if is_cell else "the file is not available")
    path = Path(fingerprint.path)
    if not path.is_relative_to(SALDIAG_FOLDER) and set(_INSTALLED) & set(path.parts):
        raise Uncertain("it is in an installed package")
    before = _read_unchanged(fingerprint)
    return FixedFile(fingerprint, before, apply_edits(before, edits))


def _read_unchanged(fingerprint: Fingerprint) -> bytes:
    try:
        data = Path(fingerprint.path).read_bytes()
    except OSError as error:
        raise FileChanged(f"{fingerprint.file}: {error.strerror or error}") from error
    if digest(data) != fingerprint.sha256:
        raise FileChanged(f"{fingerprint.file} has changed since the run read it")
    return data
