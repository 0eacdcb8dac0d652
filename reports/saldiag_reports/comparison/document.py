"""A comparison as JSON for programs, described by ``comparison.schema.json``."""

from __future__ import annotations

from typing import Any

from saldiag.core.comparison import Comparison, FileRow, FindingRow, Recorded
from saldiag.core.files.jsonio import dumps
from saldiag.core.findings.diagnosis import SCHEMA_VERSION


def render_comparison_json(comparison: Comparison, everything: bool = False) -> str:
    """Strict JSON with a final newline; the same runs give the same text.

    Args:
        comparison: the runs to show.
        everything: whether to include rows and files that are the same in all runs. All findings
            are included in any case.
    """
    value = {
        "schema_version": SCHEMA_VERSION,
        "runs": [_run_values(run) for run in comparison.runs],
        "same": comparison.same,
        "rows": [
            {
                "part": row.part,
                "at": row.at,
                "name": row.name,
                "values": row.values,
                "differs": row.differs,
            }
            for row in comparison.rows
            if everything or row.differs
        ],
        "findings": [_finding_values(row) for row in comparison.findings],
        "code": [_file_values(row) for row in comparison.code if everything or row.differs],
        "notes": comparison.notes,
    }
    return dumps(value) + "\n"


def _run_values(run: Recorded) -> dict[str, Any]:
    diagnosis = run.diagnosis
    return {
        "name": run.name,
        "path": str(run.path),
        "command": run.info.command,
        "status": run.info.status,
        "started": run.info.started,
        "model": diagnosis.subject.model if diagnosis else None,
        "verdict": diagnosis.verdict if diagnosis else None,
        "root_cause": diagnosis.root_cause if diagnosis else None,
    }


def _finding_values(row: FindingRow) -> dict[str, Any]:
    return {
        "rule": row.rule,
        "name": row.name,
        "layers": row.layers,
        "changes": row.changes,
        "runs": [
            {"severity": seen.severity, "root_cause": root, "message": seen.message,
             "fix": seen.fix, "layers": seen.layers, "source": seen.source}
            if seen
            else None
            for seen, root in zip(row.seen, row.roots, strict=True)
        ],
    }  # fmt: skip


def _file_values(row: FileRow) -> dict[str, Any]:
    return {
        "file": row.file,
        "runs": [
            {"file": source.file, "sha256": source.sha256} if source else None
            for source in row.files
        ],
        "recorded": row.known,
        "diffs": row.diffs,
    }
