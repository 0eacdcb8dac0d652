"""``diagnosis.json``: the outcome for programs, as its JSON Schema has it."""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any, Literal

from saldiag.core.files.jsonio import dumps, jsonable
from saldiag_reports.content.data import ReportData


def render_json(data: ReportData, *others: ReportData) -> str:
    """The diagnosis as strict JSON with a line end; the same run gives the same text.

    With ``others``, the models of the same program, ``models`` holds all, ``data`` first.
    """
    value = jsonable(data.diagnosis)
    if others:
        value["models"] = [one.diagnosis for one in (data, *others)]
    return dumps(value) + "\n"


def schema(name: Literal["diagnosis", "run", "comparison", "measurements"]) -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of documents of that name."""
    text = (files("saldiag_reports") / "schema" / f"{name}.schema.json").read_text(encoding="utf-8")
    loaded: dict[str, Any] = json.loads(text)
    return loaded
