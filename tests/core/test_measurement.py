"""Every measurement type is registered by its class alone, and survives a run directory."""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
import pkgutil
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import jsonschema
import numpy as np
import pytest

import saldiag.core.measurement as package
from saldiag.core.files.jsonio import jsonable
from saldiag.core.files.run import Run, RunInfo
from saldiag.core.measurement import TYPES, Measurement, arrays_of
from saldiag_reports.formats.printed.json import load_schema

ORDER = (
    "wiring", "gradients", "flow", "dtypes", "trainable", "activations", "data", "loss_check",
    "overfit", "warnings", "histograms", "predictions", "training", "items", "plan", "foreign",
    "range", "seeds", "program", "program_error", "sources", "experiments", "validation",
    "held_out",
)  # fmt: skip
"""The order in which run.json lists what is missing."""


PLAIN: dict[Any, tuple[Any, ...]] = {
    str: ("text", "", "caf\udce9 ∂"),
    int: (3, 0),
    float: (0.25, math.nan, math.inf, -math.inf, 2),
    bool: (True, False),
    type(None): (None,),
    Any: ({"a": [1, "b", None]}, 0.5, "c"),
    np.ndarray: (np.array([[1.5, math.nan, -math.inf]]),),
}


def values_of(hint: Any) -> Iterator[Any]:
    """Values of an annotated type, without end; every alternative of a union comes up."""
    origin, parts = get_origin(hint) or hint, get_args(hint)
    if dataclasses.is_dataclass(hint):
        return instances(hint)
    if origin is Literal:
        return itertools.cycle(parts)
    if origin is tuple:
        return tuples(parts)
    if origin is dict:
        return ({"one": value} if value else {} for value in values_of(parts[1]))
    if origin in (Union, types.UnionType):
        streams = zip(*map(values_of, parts), strict=False)
        return itertools.chain.from_iterable(streams)
    return itertools.cycle(PLAIN[origin])


def instances(kind: Any) -> Iterator[Any]:
    hints = get_type_hints(kind)
    names = [field.name for field in dataclasses.fields(kind)]
    for values in zip(*(values_of(hints[name]) for name in names), strict=False):
        yield kind(**dict(zip(names, values, strict=True)))


def tuples(parts: tuple[Any, ...]) -> Iterator[tuple[Any, ...]]:
    if parts[1:] != (Ellipsis,):
        streams = [values_of(part) for part in parts]
        while True:
            yield tuple(next(stream) for stream in streams)
    inner = values_of(parts[0])
    while True:
        yield (next(inner), next(inner))
        yield ()


def examples(kind: type[Measurement]) -> list[Measurement]:
    stream = values_of(kind)
    return [next(stream) for _ in range(6)]


def test_the_first_types_are_in_the_order_of_run_json() -> None:
    assert tuple(TYPES)[: len(ORDER)] == ORDER, "a new measurement comes last: leave out position"


def test_every_measurement_class_is_registered_under_a_key_of_its_own() -> None:
    kinds = Measurement.__subclasses__()
    assert len(TYPES) == len(kinds)
    placed = [kind.position for kind in TYPES.values() if kind.position < Measurement.position]
    assert len(set(placed)) == len(placed)
    assert all(TYPES[kind.key] is kind for kind in kinds)


def test_every_module_of_the_package_is_reexported() -> None:
    for module in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
        defined = [
            value
            for name, value in vars(__import__(module.name, fromlist=["*"])).items()
            if isinstance(value, type)
            and value.__module__ == module.name
            and not name.startswith("_")
        ]
        assert all(getattr(package, kind.__name__, None) is kind for kind in defined), module.name


@pytest.mark.parametrize("key", TYPES)
def test_a_measurement_survives_a_run_directory(key: str, tmp_path: Path) -> None:
    for number, measurement in enumerate(examples(TYPES[key])):
        run = Run.create("overfit", tmp_path / str(number))
        run.write_info(RunInfo(("overfit",), {}, 0, {}))
        run.write_measurement(measurement)
        back = run.read_measurements().need(TYPES[key])
        assert jsonable(back) == jsonable(measurement)
        assert arrays_of(back).keys() == arrays_of(measurement).keys()
        value = json.loads((run.measurements_path / f"{key}.json").read_text(encoding="utf-8"))
        validator(key).validate(value)


def validator(key: str) -> jsonschema.Draft202012Validator:
    whole = load_schema("measurements")
    return jsonschema.Draft202012Validator({"$defs": whole["$defs"], **whole["properties"][key]})
