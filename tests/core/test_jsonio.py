"""Strict JSON both ways, and files that are whole or not there."""

from __future__ import annotations

import json
import math
import stat
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from saldiag.core.files.jsonio import atomic_file, dumps, read_json, restore, write_json, write_text

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


def _refuse(name: str) -> None:
    raise AssertionError(f"{name} is not strict JSON")


@given(values)
def test_whatever_goes_in_strict_json_comes_out(value: object) -> None:
    json.loads(dumps(value), parse_constant=_refuse)


@dataclass(frozen=True)
class Inner:
    name: str
    value: float


@dataclass(frozen=True)
class Outer:
    pairs: tuple[tuple[int | None, ...], ...]
    inner: Inner | None
    numbers: dict[str, float] = field(default_factory=dict)
    rows: tuple[Inner, ...] = ()
    array: np.ndarray = field(default_factory=lambda: np.zeros(2))


@given(
    st.builds(
        Outer,
        pairs=st.lists(st.lists(st.none() | st.integers(), max_size=3).map(tuple)).map(tuple),
        inner=st.none() | st.builds(Inner, st.text(), st.floats(allow_nan=False)),
        numbers=st.dictionaries(st.text(), st.floats(allow_nan=False)),
        rows=st.lists(st.builds(Inner, st.text(), st.floats(allow_nan=False))).map(tuple),
        array=st.just(None),
    )
)
def test_a_dataclass_survives_the_round_trip(value: Outer) -> None:
    again = restore(Outer, json.loads(dumps(value)))
    assert dumps(again) == dumps(value)
    assert (again.pairs, again.inner, again.rows) == (value.pairs, value.inner, value.rows)


def test_numbers_that_json_lacks_travel_as_text() -> None:
    text = dumps([math.nan, math.inf, -math.inf, np.float32("nan")], indent=None)
    assert text == '["NaN", "Infinity", "-Infinity", "NaN"]'
    assert math.isnan(restore(float, "NaN"))
    assert restore(Inner, {"name": "Infinity", "value": "Infinity"}) == Inner("Infinity", math.inf)


def test_text_that_utf8_cannot_hold_is_escaped(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"name": "caf\udce9 é"})
    assert read_json(tmp_path / "a.json") == {"name": "caf\udce9 é"}
    assert dumps("é") == '"é"'


@pytest.mark.parametrize("character", [*"\x7f\x85\x9b\u202e\u2066\u2069\u200f\u2028", "\x1b"])
def test_what_acts_on_a_terminal_is_escaped(character: str) -> None:
    text = dumps({f"k{character}": f"a{character}b"})
    assert character not in text
    assert f"a\\u{ord(character):04x}b" in text
    assert json.loads(text) == {f"k{character}": f"a{character}b"}


def test_an_unknown_field_is_named() -> None:
    with pytest.raises(ValueError, match="Inner has no field 'extra'"):
        restore(Inner, {"name": "a", "value": 1.0, "extra": 2})


def test_a_missing_field_is_an_error_that_names_the_type() -> None:
    with pytest.raises(ValueError, match=r"Inner.*value"):
        restore(Inner, {"name": "a"})


def test_loose_json_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "loose.json"
    path.write_text('{"a": NaN}')
    with pytest.raises(ValueError, match="NaN is not strict JSON"):
        read_json(path)


def test_a_failed_write_leaves_the_old_file_and_no_other(tmp_path: Path) -> None:
    path = tmp_path / "kept.txt"
    write_text(path, "old")

    def fail() -> None:
        with atomic_file(path) as stream:
            stream.write("half of the n")
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        fail()
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["kept.txt"]


def test_files_are_readable_as_the_umask_says(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {})
    ordinary = tmp_path / "b.json"
    ordinary.write_text("{}")
    modes = {stat.S_IMODE(p.stat().st_mode) for p in tmp_path.iterdir()}
    assert modes == {stat.S_IMODE(ordinary.stat().st_mode)}
