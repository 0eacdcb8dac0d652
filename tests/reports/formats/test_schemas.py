"""The JSON Schemas are what the dataclasses say, and what runs write fits them."""

from __future__ import annotations

import dataclasses
import importlib
import pkgutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

import jsonschema
import numpy as np
import pytest

from saldiag.core.field_types import MAY_BE_ABSENT, Constraint, Count, Probability
from saldiag.core.files.jsonio import jsonable
from saldiag.core.files.schema import document_schema, files_schema
from saldiag.core.measurement import TYPES, Measurement, arrays_of
from saldiag_reports.formats.printed.json import load_schema
from saldiag_reports.gallery import runs
from saldiag_reports.schema.generate import generated_schemas, schema_path, schema_text
from tests import faults

NAMES = ("comparison", "diagnosis", "measurements", "run")
FAULTS = sorted(
    module.name for module in pkgutil.iter_modules(faults.__path__) if module.name.startswith("sd")
)


def written(measurement: Measurement) -> Any:
    """What ``Run`` writes as the JSON of a measurement."""
    value = jsonable(measurement)
    for name in arrays_of(measurement):
        del value[name]
    return {"schema_version": 1, **value}


@pytest.fixture(scope="module")
def measurements() -> jsonschema.Draft202012Validator:
    return jsonschema.Draft202012Validator(load_schema("measurements"))


@pytest.mark.parametrize("name", NAMES)
def test_the_file_is_what_is_generated(name: str) -> None:
    generated = generated_schemas()
    assert sorted(generated) == list(NAMES)
    text = schema_path(name).read_text(encoding="utf-8")
    assert text == schema_text(generated[name]), "run `make schemas`"


@pytest.mark.parametrize("name", NAMES)
def test_the_schema_is_a_schema(name: str) -> None:
    jsonschema.Draft202012Validator.check_schema(load_schema(name))


def objects(value: Any) -> Iterator[dict[str, Any]]:
    """All schemas of objects with named properties."""
    if isinstance(value, dict):
        if isinstance(value.get("properties"), dict) and "description" in value:
            yield value
        for part in value.values():
            yield from objects(part)
    if isinstance(value, list):
        for part in value:
            yield from objects(part)


@pytest.mark.parametrize("name", NAMES)
def test_every_property_is_described(name: str) -> None:
    found = load_schema(name)
    described = list(objects(found["$defs"] if name == "measurements" else found))
    assert described
    for each in described:
        for key, prop in (each["properties"] | each.get("arrays", {})).items():
            assert key == "schema_version" or prop.get("description"), (name, key)


@pytest.mark.parametrize("name", sorted(runs.SAMPLES))
def test_the_measurements_of_the_gallery_fit(
    name: str, measurements: jsonschema.Draft202012Validator
) -> None:
    found = {m.key: written(m) for m in runs.SAMPLES[name]().measured}
    measurements.validate(found)


@pytest.mark.parametrize("name", FAULTS)
def test_the_measurements_of_every_fault_fit(
    name: str, measurements: jsonschema.Draft202012Validator
) -> None:
    fault = importlib.import_module(f"tests.faults.{name}")
    for measured in (fault.broken(), fault.fixed()):
        measurements.validate({m.key: written(m) for m in measured})


def test_every_measurement_has_a_schema() -> None:
    assert list(load_schema("measurements")["properties"]) == list(TYPES)


def test_arrays_are_listed_and_not_in_the_json(
    measurements: jsonschema.Draft202012Validator,
) -> None:
    ranges = load_schema("measurements")["$defs"]["range_test"]
    assert list(ranges["arrays"]) == ["rates", "loss"]
    measurements.validate({"range": {"schema_version": 1}})
    with pytest.raises(jsonschema.ValidationError):
        measurements.validate({"range": {"schema_version": 1, "rates": [0.1]}})


@pytest.mark.parametrize(
    "spoil",
    [
        lambda value: value.pop("schema_version"),
        lambda value: value.pop("keras"),
        lambda value: value.update(keras="yes"),
        lambda value: value.update(more=1),
        lambda value: value.update(schema_version=2),
    ],
)
def test_what_is_no_measurement_is_refused(
    spoil: Any, measurements: jsonschema.Draft202012Validator
) -> None:
    value = {"schema_version": 1, "keras": True, "tensorflow": True, "deterministic": False}
    measurements.validate({"seeds": value})
    spoil(value)
    with pytest.raises(jsonschema.ValidationError):
        measurements.validate({"seeds": value})


@dataclass
class Base:
    """A base."""

    first: int
    """First of all,
    on two lines; None never."""


@dataclass
class Leaf:
    """A leaf."""

    size: Count


@dataclass
class Whole(Base):
    """A whole."""

    share: Probability
    leaves: Annotated[tuple[Leaf, ...], Constraint(min_items=1)]
    pair: tuple[int, str]
    kind: Literal["a", "b"] | None
    loose: float | None = None
    table: dict[str, float] = field(default_factory=dict)
    anything: dict[str, Any] = field(default_factory=dict)
    later: str = field(default="", metadata=MAY_BE_ABSENT)
    array: np.ndarray = field(default_factory=lambda: np.zeros(1))
    """Shape (T)."""


def test_a_schema_says_what_the_annotations_say() -> None:
    found = document_schema(Whole, "title", "Somewhere.")
    assert found["description"] == "Somewhere. A whole."
    assert found["required"] == [
        "first", "share", "leaves", "pair", "kind", "loose", "table", "anything",
    ]  # fmt: skip
    assert found["arrays"] == {"array": {"description": "Shape (T)."}}
    assert found["properties"] == {
        "first": {"description": "First of all, on two lines; null never.", "type": "integer"},
        "share": {"type": "number", "minimum": 0, "maximum": 1},
        "leaves": {"type": "array", "items": {"$ref": "#/$defs/leaf"}, "minItems": 1},
        "pair": {
            "type": "array",
            "prefixItems": [{"type": "integer"}, {"type": "string"}],
            "minItems": 2,
            "maxItems": 2,
        },
        "kind": {"enum": ["a", "b", None]},
        "loose": {"anyOf": [{"$ref": "#/$defs/number"}, {"type": "null"}]},
        "table": {"type": "object", "additionalProperties": {"$ref": "#/$defs/number"}},
        "anything": {"type": "object"},
        "later": {"type": "string"},
    }
    assert found["$defs"]["leaf"]["properties"] == {"size": {"type": "integer", "minimum": 0}}


def test_a_field_with_a_default_may_be_absent_from_a_file() -> None:
    found = files_schema({"whole": Whole}, "title", "Files.")["$defs"]["whole"]
    assert found["required"] == ["schema_version", "first", "share", "leaves", "pair", "kind"]
    assert {f.name for f in dataclasses.fields(Whole)} - {"array"} < set(found["properties"])
