"""``saldiag fix RUN``: prints the edits of a run's findings as a diff, or applies them."""

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

EXIT_ALL_FIXED, EXIT_FIXES_LEFT = 0, 1
"""Exit codes: nothing is left to fix; there is a diff, or a finding to fix by hand."""


@dataclass
class FixPlan:
    """The edits that saldiag can apply, and the findings that need a person."""

    files: list[FixedFile] = field(default_factory=list)
    """The files with the edits of all ``fixed`` findings."""
    fixed: list[Finding] = field(default_factory=list)
    """Findings whose edits are in ``files``."""
    by_hand: list[tuple[Finding, str]] = field(default_factory=list)
    """Findings without a certain edit, each with its fix or the reason."""


def fix(path: Path, *, write: bool, rule: str | None) -> int:
    """Print the diff, or with ``write`` apply it and keep each original; returns the exit code.

    Args:
        path: the run directory; the runs of its program's other models are included.
        write: whether to change the files.
        rule: code or name of the only rule whose findings to fix, even if another finding explains
            them; None for all errors and warnings.

    Raises:
        SaldiagError: there is no such rule.
        RunError: the run cannot be read, or a file has changed since.
    """
    judged, known = _read_runs(path)
    plan = _plan_fixes(
        _findings_to_fix([diagnosis for diagnosis, _ in judged], rule), judged, known
    )
    _print_lines(f"{_finding_title(finding)}: {why}" for finding, why in plan.by_hand)
    if write:
        return _write_files(plan)
    for file in plan.files:
        _print_diff(unified_diff(_display_path(file), file.before, file.after))
    return EXIT_FIXES_LEFT if plan.files or plan.by_hand else EXIT_ALL_FIXED


def _read_runs(path: Path) -> tuple[list[tuple[Diagnosis, Measurements]], Fingerprints]:
    """Diagnosis and measurements of each model of a program, and the files as they were."""
    runs = [Run.open(path)]
    runs += [Run(run.parent) for run in sorted(path.glob("model-*/run.json"))]
    read = [run for run in runs if run is runs[0] or run.diagnosis_path.exists()]
    files = [known for run in read for known in read_fingerprints(run.path).files]
    judged = [(run.read_diagnosis(), run.read_measurements()) for run in read]
    return judged, Fingerprints(tuple(dict.fromkeys(files)))


def _findings_to_fix(diagnoses: Sequence[Diagnosis], rule: str | None) -> list[Finding]:
    """The findings to fix: errors and warnings that no other finding explains, or a rule's."""
    findings = [finding for diagnosis in diagnoses for finding in diagnosis.findings]
    if rule is None:
        return [finding for finding in findings if finding.to_mend]
    from saldiag.rules.engine.registry import rule_by_name

    code = rule_by_name(rule).code
    return [finding for finding in findings if finding.rule == code]


def _plan_fixes(
    findings: Sequence[Finding],
    judged: Sequence[tuple[Diagnosis, Measurements]],
    known: Fingerprints,
) -> FixPlan:
    """Add one finding after the other, if its edits are compatible with those before it.

    Raises:
        RunError: a file has changed since the run.
    """
    plan = FixPlan()
    for finding in findings:
        if not finding.edits:
            plan.by_hand.append((finding, finding.fix))
            continue
        try:
            fix_files([finding], judged, known)
            plan.files = fix_files([*plan.fixed, finding], judged, known)
            plan.fixed.append(finding)
        except Uncertain as reason:
            plan.by_hand.append((finding, f"{finding.fix} (no edit: {reason})"))
        except FileChanged as reason:
            raise RunError(f"{reason}: run saldiag again, then fix the new run") from reason
    return plan


def _write_files(plan: FixPlan) -> int:
    """Write the files, except those of saldiag itself; returns the exit code."""
    own = [
        file for file in plan.files if Path(file.fingerprint.path).is_relative_to(SALDIAG_FOLDER)
    ]
    for file in own:
        _print_lines([f"{file.fingerprint.file} belongs to saldiag: not changed"])
    for file in plan.files:
        if file not in own:
            backup = _replace_file(file)
            _print_lines([f"fixed {_display_path(file)} (original: {backup.name})"])
    return EXIT_FIXES_LEFT if plan.by_hand or own else EXIT_ALL_FIXED


def _replace_file(file: FixedFile) -> Path:
    """Replace the file's text; returns the path of the backup.

    Raises:
        RunError: the file has changed since the run.
        OSError: it cannot be written.
    """
    path = Path(file.fingerprint.path)
    if digest(path.read_bytes()) != file.fingerprint.sha256:
        raise RunError(
            f"{file.fingerprint.file} has changed since the run read it: run saldiag again"
        )
    mode = path.stat().st_mode
    backup = _write_backup(path, file.before, mode)
    with atomic_file(path, "wb") as stream:
        stream.write(file.after)
    path.chmod(mode)
    return backup


def _write_backup(path: Path, data: bytes, mode: int) -> Path:
    """Write the original beside the file, as ``.bak``, ``.bak2`` …: the first name that is free.

    Raises:
        RunError: all names are taken.
        OSError: it cannot be written.
    """
    for number in range(1, 10_000):
        backup = path.with_name(f"{path.name}.bak{number if number > 1 else ''}")
        with suppress(FileExistsError), backup.open("xb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
            backup.chmod(mode)
            return backup
    raise RunError(f"{path.name}: too many backups: delete some")


def _display_path(file: FixedFile) -> str:
    """The path as ``git apply`` needs it: relative if it is inside the working directory."""
    path = Path(file.fingerprint.path)
    try:
        return path.relative_to(Path.cwd()).as_posix()
    except ValueError:
        return path.as_posix()


def _finding_title(finding: Finding) -> str:
    where = f"{file_and_line(finding.source)}: " if finding.source is not None else ""
    return f"{where}{finding.rule} {finding.name}"


def _print_diff(diff: bytes) -> None:
    """Print the raw bytes for ``git apply``; on a terminal, control characters are escaped."""
    if sys.stdout.isatty() or not hasattr(sys.stdout, "buffer"):
        sys.stdout.write(plain_lines(diff.decode("utf-8", "replace")))
    else:
        sys.stdout.buffer.write(diff)
    sys.stdout.flush()


def _print_lines(lines_of_text: Iterable[str]) -> None:
    """Print lines on stderr, with control characters escaped."""
    for line in lines_of_text:
        sys.stderr.write(f"saldiag: {plain(' '.join(line.split()))}\n")
