"""Generates the JSON Schemas beside this file from the dataclasses: ``make schemas``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from saldiag.core.comparison.document import ComparisonDocument
from saldiag.core.files.jsonio import write_text
from saldiag.core.files.run import RunInfo
from saldiag.core.files.schema import document_schema, files_schema
from saldiag.core.findings.diagnosis import Diagnosis
from saldiag.core.measurement import TYPES

FOLDER = Path(__file__).parent
STRINGS = "NaN and infinities are strings."


def generated_schemas() -> dict[str, dict[str, Any]]:
    """Every schema by the name of its file, without ``.schema.json``."""
    return {
        "diagnosis": _diagnosis_schema(),
        "run": document_schema(RunInfo, "saldiag run", f"run.json of a run. {STRINGS}"),
        "comparison": document_schema(
            ComparisonDocument,
            "saldiag comparison",
            f"stdout of `saldiag compare --format json`. {STRINGS} Lists with an entry for each run"
            " are in the order given; changes and diffs have an entry for each run but the first.",
        ),
        "measurements": files_schema(
            TYPES,
            "saldiag measurements",
            "The files measurements/KEY.json of a run, by KEY: #/properties/KEY is the schema of"
            f" one file. {STRINGS} Arrays are not in the JSON but in measurements/KEY.npz, under"
            " the names that the keyword arrays lists; letters in parentheses are their shape.",
        ),
    }


def _diagnosis_schema() -> dict[str, Any]:
    schema = document_schema(
        Diagnosis,
        "saldiag diagnosis",
        f"diagnosis.json of a run, and stdout under --format json. {STRINGS}",
    )
    schema["properties"]["models"] = {
        "description": "Only on stdout, if a program trained several models: all diagnoses, the "
        "most severe first, which is also the document's own.",
        "type": "array",
        "minItems": 2,
        "items": {"$ref": "#"},
    }
    return schema


def schema_text(schema: dict[str, Any]) -> str:
    """The text of a schema's file."""
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def schema_path(name: str) -> Path:
    """The file of the schema of that name."""
    return FOLDER / f"{name}.schema.json"


def main() -> None:
    """Write all schemas."""
    for name, schema in generated_schemas().items():
        write_text(schema_path(name), schema_text(schema))


if __name__ == "__main__":
    main()
