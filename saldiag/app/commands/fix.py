"""``saldiag fix RUN``: the edits of a run's findings as a diff, or made in the user's files."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from saldiag.core.errors import RunError
from saldiag.core.files.fingerprints import Fingerprints, read_fingerprints
from saldiag.core.files.jsonio import atomic_file
from saldiag.core.files.run import Run
from saldiag.core.files.sources import digest
from saldiag.core.findings.diagnosis import Diagnosis
from saldiag.core.findings.finding import Finding
from saldiag.core.measurement import Measurements
from saldiag.core.wording import file_and_line, plain, plain_lines
from saldiag.repair.diff import unified_diff
from saldiag.repair.errors import Uncertain
from saldiag.repair.findings import SALDIAG_FOLDER, FileChanged, FixedFile, fix_files

NOTHING_LEFT, LEFT = 0, 1
"""Exit codes: nothing is left to fix; there is a diff, or something to fix by hand."""


@dataclass
class Plan:
    """Fixes that can be applied together, and findings to fix by hand, each with the reason."""

    files: list[FixedFile] = field(default_factory=list)
    taken: list[Finding] = field(default_factory=list)
    by_hand: list[tuple[Finding, str]] = field(default_factory=list)


def fix(path: Path, *, write: bool, rule: str | None) -> int:
    """Print the diff, or with ``write`` apply it and keep each old file; returns the exit code.

    Args:
        path: the run directory; the other models of its program come with it.
        write: change the files.
        rule: findings of this rule alone, by code or name, also those that another explains.

    Raises:
        SaldiagError: there is no such rule.
        RunError: the run cannot be read, or a file is not what it was when the run was made.
    """
    judged, known = _read(path)
    plan = _plan(_wanted([diagnosis for diagnosis, _ in judged], rule), judged, known)
    _tell(f"{_title(finding)}: {why}" for finding, why in plan.by_hand)
    if write:
        return _write(plan)
    for file in plan.files:
        _print(unified_diff(_shown(file), file.before, file.after))
    return LEFT if plan.files or plan.by_hand else NOTHING_LEFT


def _read(path: Path) -> tuple[list[tuple[Diagnosis, Measurements]], Fingerprints]:
    """All models of a program: what was measured and judged, and the files as they were."""
    runs = [Run.open(path)]
    runs += [Run(run.parent) for run in sorted(path.glob("model-*/run.json"))]
    read = [run for run in runs if run is runs[0] or run.diagnosis_path.exists()]
    files = [known for run in read for known in read_fingerprints(run.path).files]
    judged = [(run.read_diagnosis(), run.read_measurements()) for run in read]
    return judged, Fingerprints(tuple(dict.fromkeys(files)))


def _wanted(diagnoses: Sequence[Diagnosis], rule: str | None) -> list[Finding]:
    """The findings to mend: errors and warnings that no other finding explains, or a rule's own."""
    findings = [finding for diagnosis in diagnoses for finding in diagnosis.findings]
    if rule is None:
        return [finding for finding in findings if finding.to_mend]
    from saldiag.rules.engine.registry import rule_by_name

    code = rule_by_name(rule).code
    return [finding for finding in findings if finding.rule == code]


def _plan(
    findings: Sequence[Finding],
    judged: Sequence[tuple[Diagnosis, Measurements]],
    known: Fingerprints,
) -> Plan:
    """Take one finding after the other, as long as its edits go together with those before it.

    Raises:
        RunError: a file is not what it was.
    """
    plan = Plan()
    for finding in findings:
        if not finding.edits:
            plan.by_hand.append((finding, finding.fix))
            continue
        try:
            fix_files([finding], judged, known)
            plan.files = fix_files([*plan.taken, finding], judged, known)
            plan.taken.append(finding)
        except Uncertain as reason:
            plan.by_hand.append((finding, f"{finding.fix} (no edit: {reason})"))
        except FileChanged as reason:
            raise RunError(f"{reason}: run saldiag again, then fix the new run") from reason
    return plan


def _write(plan: Plan) -> int:
    own = [
        file for file in plan.files if Path(file.fingerprint.path).is_relative_to(SALDIAG_FOLDER)
    ]
    for file in own:
        name = file.fingerprint.file
        _tell([f"{name} belongs to saldiag's built-in model, so it is not changed"])
    for file in plan.files:
        if file not in own:
            kept = _replace(file)
            _tell([f"fixed {_shown(file)} (original: {kept.name})"])
    return LEFT if plan.by_hand or own else NOTHING_LEFT


def _replace(file: FixedFile) -> Path:
    """Put the new text in place of the old one; returns where the old one is kept.

    Raises:
        RunError: the file was changed meanwhile.
        OSError: it cannot be written.
    """
    path = Path(file.fingerprint.path)
    if digest(path.read_bytes()) != file.fingerprint.sha256:
        name = file.fingerprint.file
        raise RunError(f"{name} has changed since the run read it: run saldiag again")
    mode = path.stat().st_mode
    backup = _backup(path, file.before, mode)
    with atomic_file(path, "wb") as stream:
        stream.write(file.after)
    path.chmod(mode)
    return backup


def _backup(path: Path, data: bytes, mode: int) -> Path:
    """The old text beside the file, as ``.bak``, ``.bak2``: under the first name that is free."""
    for number in range(1, 10_000):
        backup = path.with_name(f"{path.name}.bak{number if number > 1 else ''}")
        with suppress(FileExistsError), backup.open("xb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
            backup.chmod(mode)
            return backup
    raise RunError(f"{path.name}: too many backups: delete some")


def _shown(file: FixedFile) -> str:
    """The file as ``git apply`` wants it here: relative where it lies below."""
    path = Path(file.fingerprint.path)
    try:
        return path.relative_to(Path.cwd()).as_posix()
    except ValueError:
        return path.as_posix()


def _title(finding: Finding) -> str:
    where = f"{file_and_line(finding.source)}: " if finding.source is not None else ""
    return f"{where}{finding.rule} {finding.name}"


def _print(diff: bytes) -> None:
    """The bytes as they are for ``git apply``; on a terminal what it would obey is spelt out."""
    if sys.stdout.isatty() or not hasattr(sys.stdout, "buffer"):
        sys.stdout.write(plain_lines(diff.decode("utf-8", "replace")))
    else:
        sys.stdout.buffer.write(diff)
    sys.stdout.flush()


def _tell(told: Iterable[str]) -> None:
    for line in told:
        sys.stderr.write(f"saldiag: {plain(' '.join(line.split()))}\n")
