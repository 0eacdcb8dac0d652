"""From findings to diffs: each finding alone, against the files as the run saw them."""

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
from saldiag.repair.errors import Uncertain
from saldiag.repair.mend import apply_edits
from saldiag.repair.shared import JudgedModel, check_line_not_shared
from saldiag.repair.source import PythonFile

_INSTALLED = ("site-packages", "dist-packages")
SALDIAG_FOLDER = Path(__file__).resolve().parents[1]
"""saldiag itself: what its built-in models want is shown, and never written."""


class FileChanged(Exception):  # noqa: N818 - an outcome, not an error
    """A file is not what it was when the run was made; the message names it."""


@dataclass(frozen=True)
class FixedFile:
    """A file before and after; ``known`` tells its names."""

    known: Fingerprint
    before: bytes
    after: bytes

    def text(self) -> str:
        """The diff as text, whatever the file is encoded in."""
        encoding = PythonFile.read(self.before).encoding
        sides = [side.decode(encoding).encode() for side in (self.before, self.after)]
        return unified_diff(self.known.file, *sides).decode("utf-8", "surrogateescape")


def with_diffs(judged: Sequence[JudgedModel], known: Fingerprints) -> list[Diagnosis]:
    """The diagnoses of a program's models, each finding with its diff or the reason for none."""
    return [
        replace(
            diagnosis,
            findings=tuple(_with_diff(finding, judged, known) for finding in diagnosis.findings),
        )
        for diagnosis, _ in judged
    ]


def _with_diff(finding: Finding, judged: Sequence[JudgedModel], known: Fingerprints) -> Finding:
    if not finding.edits:
        return finding
    try:
        files = fix_files([finding], judged, known)
        return replace(finding, diff="".join(file.text() for file in files), by_hand="")
    except (Uncertain, FileChanged) as reason:
        return replace(finding, diff="", by_hand=str(reason))


def fix_files(
    findings: Sequence[Finding], judged: Sequence[JudgedModel], known: Fingerprints
) -> list[FixedFile]:
    """Every file that the findings' edits are in, with all of them made.

    Raises:
        Uncertain: one of them is not certain.
        Changed: a file is not what it was.
    """
    edits = [edit for finding in findings for edit in finding.edits]
    for edit in edits:
        check_line_not_shared(edit, judged)
    names = dict.fromkeys(edit.source.file for edit in edits)
    return [
        _fixed_file(file, known, [edit for edit in edits if edit.source.file == file])
        for file in names
    ]  # fmt: skip


def _fixed_file(file: str, known: Fingerprints, edits: Sequence[Edit]) -> FixedFile:
    found = known.of(file)
    if found is None:
        cell = file.endswith("]") or file.startswith("<")
        raise Uncertain("it is in the cell of a notebook" if cell else "the file is not at hand")
    path = Path(found.path)
    if not path.is_relative_to(SALDIAG_FOLDER) and set(_INSTALLED) & set(path.parts):
        raise Uncertain("it is in an installed package")
    before = _read_unchanged(found)
    return FixedFile(found, before, apply_edits(before, edits))


def _read_unchanged(known: Fingerprint) -> bytes:
    try:
        data = Path(known.path).read_bytes()
    except OSError as error:
        raise FileChanged(f"{known.file}: {error.strerror or error}") from error
    if digest(data) != known.sha256:
        raise FileChanged(f"{known.file} has changed since the run read it")
    return data
