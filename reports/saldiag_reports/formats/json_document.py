"""``diagnosis.json``: the outcome for programs, as its JSON Schema has it."""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any, Literal

from saldiag.core.files.jsonio import dumps
from saldiag.core.findings.diagnosis import Diagnosis
from saldiag.core.findings.finding import Finding
from saldiag_reports.content.data import ReportData


def render_json(data: ReportData, *others: ReportData) -> str:
    """The diagnosis as strict JSON with a line end; the same run gives the same text.

    With ``others``, the models of the same program, ``models`` holds all, ``data`` first.
    """
    value = _diagnosis(data.diagnosis)
    if others:
        value["models"] = [_diagnosis(one.diagnosis) for one in (data, *others)]
    # A lone surrogate (a file name that is no UTF-8) becomes the escape that JSON has for it.
    return dumps(value).encode("utf-8", "backslashreplace").decode("utf-8") + "\n"


def _diagnosis(diagnosis: Diagnosis) -> dict[str, Any]:
    return {
        "schema_version": diagnosis.schema_version,
        "subject": diagnosis.subject,
        "verdict": diagnosis.verdict,
        "verdict_reason": diagnosis.verdict_reason,
        "root_cause": diagnosis.root_cause,
        "findings": [_finding(finding) for finding in diagnosis.findings],
        "skipped": diagnosis.skipped,
        "hypotheses": diagnosis.hypotheses,
        "timings": diagnosis.timings,
    }


def _finding(finding: Finding) -> dict[str, Any]:
    return {
        "rule": finding.rule,
        "name": finding.name,
        "severity": finding.severity,
        "confidence": finding.confidence,
        "layers": finding.layers,
        "message": finding.message,
        "fix": finding.fix,
        "evidence": finding.evidence,
        "source": finding.source,
        "explained_by": finding.explained_by,
        "confirmed_by": finding.confirmed_by,
        "edits": finding.edits,
        "diff": finding.diff,
        "by_hand": finding.by_hand,
    }


def schema(name: Literal["diagnosis", "run", "comparison"]) -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of ``diagnosis.json``, ``run.json`` or a comparison."""
    text = (files("saldiag_reports") / "schema" / f"{name}.schema.json").read_text(encoding="utf-8")
    loaded: dict[str, Any] = json.loads(text)
    return loaded
