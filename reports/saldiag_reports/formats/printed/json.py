"""The diagnosis as JSON for programs, the content of ``diagnosis.json``; and the JSON Schemas."""

from __future__ import annotations

import json
from collections.abc import Sequence
from importlib.resources import files
from typing import Any, Literal

from saldiag.core.files.jsonio import dumps, jsonable
from saldiag.core.findings.finding import Severity
from saldiag_reports.content.data import ReportData
from saldiag_reports.formats.printed_run import PrintedFormat, PrintedRun, json_escape


def render_json(data: ReportData, *others: ReportData) -> str:
    """The diagnosis as strict JSON with a final newline; the same run gives the same text.

    With ``others``, the other models of the same program, the key ``models`` lists all
    diagnoses, that of ``data`` first.
    """
    value = jsonable(data.diagnosis)
    if others:
        value["models"] = [other.diagnosis for other in (data, *others)]
    return dumps(value) + "\n"


def _render_runs(runs: Sequence[PrintedRun], _fail_on: Severity) -> str:
    return render_json(*(run.data for run in runs))


FORMAT = PrintedFormat(
    "JSON for programs; the same as diagnosis.json.", _render_runs, unencodable=json_escape
)


def load_schema(
    name: Literal["diagnosis", "run", "comparison", "measurements"],
) -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of documents of that name."""
    text = (files("saldiag_reports") / "schema" / f"{name}.schema.json").read_text(encoding="utf-8")
    loaded: dict[str, Any] = json.loads(text)
    return loaded
