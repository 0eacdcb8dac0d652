"""A comparison as ``saldiag compare --format json`` writes it.

Lists with an entry for each run are in the order of the runs; ``changes`` and ``diffs`` have an
entry for each run but the first.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from saldiag.core.comparison import Change, Comparison, FileRow, FindingRow, Part, Recorded
from saldiag.core.field_types import Constraint, RuleCode, Sha256
from saldiag.core.files.run import Status
from saldiag.core.findings.diagnosis import SCHEMA_VERSION, RootCause, SchemaVersion, Verdict
from saldiag.core.findings.finding import Severity
from saldiag.core.measurement import Source

SEVERAL_RUNS = Constraint(min_items=2)
LATER_RUNS = Constraint(min_items=1)


@dataclass(frozen=True)
class ComparedRun:
    """One of the compared runs."""

    name: str
    """Shortest end of its path that no other run has."""
    path: str
    """Path of its directory."""
    command: tuple[str, ...]
    """The command line, word by word."""
    status: Status
    """How far the run got."""
    started: str
    """Time of the start in UTC; empty if unknown."""
    model: str | None
    """Name of the model; None if the run was not judged."""
    verdict: Verdict | None
    """Whether the model learns; None if the run was not judged."""
    root_cause: RootCause | None
    """The finding that no other finding explains; None without findings, or if not judged."""


@dataclass(frozen=True)
class ComparedFact:
    """A fact with its value in each run."""

    part: Part
    """What the fact is about."""
    at: str
    """Path of the layer call that a fact of the network is about; else empty."""
    name: str
    """Name of the fact; ``layer`` for a layer that some runs do not have."""
    values: Annotated[tuple[Any, ...], SEVERAL_RUNS]
    """Value in each run; None if a run has none."""
    differs: bool
    """Whether a value differs from the first run's."""


@dataclass(frozen=True)
class SeenFinding:
    """A finding in one run."""

    severity: Severity
    """Its severity in this run."""
    root_cause: bool
    """Whether it is the root cause of this run."""
    message: str
    """What is wrong, with the measured value and the threshold."""
    fix: str
    """What to change in the program."""
    layers: tuple[str, ...]
    """Paths of the layers it is about in this run."""
    source: Source | None
    """Line of the user's code it is about; None if unknown."""


@dataclass(frozen=True)
class ComparedFinding:
    """A finding with its state in each run."""

    rule: RuleCode
    """Code of its rule."""
    name: str
    """Name of its rule."""
    layers: tuple[str, ...]
    """Paths of the layers it is about, in the first run that has it."""
    changes: Annotated[tuple[Change, ...], LATER_RUNS]
    """Change from the first run; ``unknown``: one of the two runs has the finding, and the other
    could not judge."""
    runs: Annotated[tuple[SeenFinding | None, ...], SEVERAL_RUNS]
    """The finding in each run; None if a run does not have it."""


@dataclass(frozen=True)
class SeenFile:
    """A source file in one run."""

    file: str
    """Its path in this run."""
    sha256: Sha256
    """SHA-256 of its bytes, as 64 hexadecimal digits."""


@dataclass(frozen=True)
class ComparedFile:
    """A source file of the program with its state in each run."""

    file: str
    """Path of the file in the first run that has it."""
    runs: Annotated[tuple[SeenFile | None, ...], SEVERAL_RUNS]
    """The file in each run; None if a run does not have it."""
    recorded: tuple[bool, ...]
    """Whether each run recorded its files."""
    diffs: Annotated[tuple[str | None, ...], LATER_RUNS]
    """Unified diffs from the first run; empty if nothing changed, None if there is no text."""


@dataclass(frozen=True)
class ComparisonDocument:
    """Two or more runs, compared with the first of them."""

    schema_version: SchemaVersion
    """Version of the format."""
    runs: Annotated[tuple[ComparedRun, ...], SEVERAL_RUNS]
    """The runs, in the order given; the first is the base."""
    same: bool
    """Whether nothing that was recorded differs."""
    rows: tuple[ComparedFact, ...]
    """Facts about outcome, settings, data and network that differ; with ``--all`` the others
    too."""
    findings: tuple[ComparedFinding, ...]
    """All findings of all runs."""
    code: tuple[ComparedFile, ...]
    """The program's own files that differ; with ``--all`` the others too."""
    notes: tuple[str, ...]
    """What limits the comparison, one line each."""


def comparison_document(comparison: Comparison, everything: bool = False) -> ComparisonDocument:
    """The document of a comparison.

    Args:
        comparison: the runs, compared.
        everything: whether to include rows and files that are the same in all runs. All findings
            are included either way.
    """
    return ComparisonDocument(
        schema_version=SCHEMA_VERSION,
        runs=tuple(_compared_run(run) for run in comparison.runs),
        same=comparison.same,
        rows=tuple(
            ComparedFact(row.part, row.at, row.name, row.values, row.differs)
            for row in comparison.rows
            if everything or row.differs
        ),
        findings=tuple(_compared_finding(row) for row in comparison.findings),
        code=tuple(_compared_file(row) for row in comparison.code if everything or row.differs),
        notes=comparison.notes,
    )


def _compared_run(run: Recorded) -> ComparedRun:
    diagnosis = run.diagnosis
    return ComparedRun(
        name=run.name,
        path=str(run.path),
        command=run.info.command,
        status=run.info.status,
        started=run.info.started,
        model=diagnosis.subject.model if diagnosis else None,
        verdict=diagnosis.verdict if diagnosis else None,
        root_cause=diagnosis.root_cause if diagnosis else None,
    )


def _compared_finding(row: FindingRow) -> ComparedFinding:
    seen = tuple(
        SeenFinding(one.severity, root, one.message, one.fix, one.layers, one.source)
        if one
        else None
        for one, root in zip(row.seen, row.roots, strict=True)
    )
    return ComparedFinding(row.rule, row.name, row.layers, row.changes, seen)


def _compared_file(row: FileRow) -> ComparedFile:
    files = tuple(SeenFile(one.file, one.sha256) if one else None for one in row.files)
    return ComparedFile(row.file, files, row.known, row.diffs)
