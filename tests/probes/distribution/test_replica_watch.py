"""Programs on logical CPU devices: faults are named, twins and healthy programs are clear."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
from collections.abc import Sequence
from functools import cache
from typing import Any

import pytest

from tests.replicas.cases import FAULTS, HEALTHY
from tests.replicas.models import KINDS
from tests.support.command_line import run_python
from tests.support.commits import commit

pytestmark = pytest.mark.tensorflow

QUICK = (
    "broken/mean/dense/2",
    "fixed/mean/dense/2",
    "broken/keras divided in train_step/dense/2",
    "broken/same items/dense/2",
    "healthy/fit/dense/2",
)
COUNTS = (2, 4)
SAMPLE_SIZE = 8
CODE = "import sys; from tests.replicas.run import main; main(sys.argv[1:])"


@cache
def outcomes(names: tuple[str, ...], option: str = "") -> dict[str, Any]:
    """What each program came to, by name; one process for all."""
    arguments = [*names, *([option] if option else [])]
    ended = run_python(f"import sys; sys.argv[1:] = {arguments!r}; {CODE}")
    rows = [json.loads(line) for line in ended.stdout.splitlines() if line.startswith("{")]
    assert [row["name"] for row in rows] == list(names), ended.stderr[-2000:]
    return {row["name"]: row for row in rows}


def assert_as_expected(row: dict[str, Any]) -> None:
    what, case, *_ = row["name"].split("/")
    assert "error" not in row, row
    if what == "broken":
        assert row["root"] == FAULTS[case].code, row
    else:
        assert [f for f in row["findings"] if f[1] != "info"] == [], row


@pytest.mark.slow
@pytest.mark.parametrize("name", QUICK)
def test_a_fault_is_named_and_its_twin_is_clear(name: str) -> None:
    assert_as_expected(outcomes(QUICK)[name])


@pytest.mark.slow
def test_the_line_of_the_mean_is_named() -> None:
    row = outcomes(QUICK)["broken/mean/dense/2"]
    assert "tf.reduce_mean(each)" in row["findings"][0][4]


@pytest.mark.slow
def test_a_watched_training_is_that_without_watching() -> None:
    names = ("healthy/loop with Adam/dense/2", "healthy/fit/convolutional/2")
    for row in outcomes(names, "--weights").values():
        assert row["watched"] == row["unwatched"]


def programs_of(kind: str, count: int) -> list[str]:
    """All programs of a kind of model, on a number of replicas."""
    faults = [case for case, fault in FAULTS.items() if kind in fault.kinds]
    programs = [f"{what}/{case}" for case in faults for what in ("broken", "fixed")]
    programs += [f"healthy/{case}" for case in HEALTHY]
    return [f"{program}/{kind}/{count}" for program in programs]


def sample(key: str) -> list[str]:
    """A few programs of one kind and number; as the key changes, all come up."""
    order = sorted(itertools.product(KINDS, COUNTS), key=lambda pair: digest(f"{key} {pair}"))
    return sorted(programs_of(*order[0]), key=lambda name: digest(f"{key} {name}"))[:SAMPLE_SIZE]


def digest(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()


def assert_all_as_expected(names: Sequence[str]) -> None:
    wrong = []
    for row in outcomes(tuple(names)).values():
        try:
            assert_as_expected(row)
        except AssertionError as error:
            wrong.append(str(error))
    assert wrong == []


@pytest.mark.slow
def test_a_sample_of_the_matrix() -> None:
    assert_all_as_expected(sample(commit()))


@pytest.mark.slow
@pytest.mark.skipif("SALDIAG_WHOLE_MATRIX" not in os.environ, reason="`make replicas` runs it")
@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("kind", KINDS)
def test_the_whole_matrix(kind: str, count: int) -> None:
    assert_all_as_expected(programs_of(kind, count))
