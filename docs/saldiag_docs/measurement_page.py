"""The page of measurements, from their dataclasses: fields, types and docstrings."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import griffe

from saldiag.core import measurement
from saldiag_docs.markdown import escaped, table

PATH = "reference/files/measurements.md"
ROOT = Path(__file__).parents[2]


def pages() -> dict[str, str]:
    """The page by its path below docs/."""
    kinds = measurement.TYPES
    rows_first = [value for value in _public() if value not in kinds.values()]
    parts = [
        "# Measurements",
        inspect.cleandoc(measurement.__doc__ or ""),
        "`measurements/KEY.json` holds a measurement without its arrays, `measurements/KEY.npz` its"
        " arrays (numpy, no pickles). NaN and infinities are strings in JSON. A quantity that could"
        " not be measured is NaN (a number) or null (anything else), never zero; a measurement that"
        " is missing as a whole is listed with the reason under `missing` in `run.json`.",
        table(("Key", "Type"), [(f"[`{k}`](#{k})", f"`{v.__name__}`") for k, v in kinds.items()]),
    ]
    for key, kind in kinds.items():
        parts += [f"## {key} {{#{key}}}", f"Type `{kind.__name__}`.", *_account(kind)]
    parts += ["## Types of rows"]
    for kind in rows_first:
        parts += [f"### {kind.__name__}", *_account(kind)]
    return {PATH: "\n\n".join(parts) + "\n"}


def _public() -> list[type[Any]]:
    values = [value for _, value in sorted(vars(measurement).items()) if inspect.isclass(value)]
    left_out = (measurement.Measurement, measurement.Measurements)
    return [v for v in values if dataclasses.is_dataclass(v) and v not in left_out]


def _account(kind: type[Any]) -> Iterator[str]:
    yield escaped(inspect.getdoc(kind) or "")
    texts = _field_docs(kind)
    rows = [
        (f"`{field.name}`", f"`{field.type}`", escaped(texts.get(field.name, "")))
        for field in dataclasses.fields(kind)
    ]
    with_text = any(text for _, _, text in rows)
    header = ("Field", "Type", "Meaning") if with_text else ("Field", "Type")
    yield table(header, [row if with_text else row[:2] for row in rows])


@cache
def _source() -> griffe.Module:
    """The package as its source has it: docstrings of fields do not exist at run time."""
    found = griffe.load("saldiag.core.measurement", search_paths=[ROOT], allow_inspection=False)
    assert isinstance(found, griffe.Module)
    return found


def _field_docs(kind: type[Any]) -> dict[str, str]:
    source = _source()
    for name in kind.__module__.removeprefix("saldiag.core.measurement").strip(".").split("."):
        source = source[name] if name else source
    members = source[kind.__qualname__].members
    return {
        name: " ".join(member.docstring.value.split())
        for name, member in members.items()
        if member.docstring
    }
