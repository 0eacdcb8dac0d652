"""A run directory keeps what was measured, and never overwrites another run."""

from __future__ import annotations

import gc
from pathlib import Path

import numpy as np
import pytest

from saldiag.core.errors import RunError
from saldiag.core.files.run import Run, RunInfo
from saldiag.core.findings.diagnosis import Diagnosis, RootCause, SubjectSummary
from saldiag.core.findings.finding import Finding
from saldiag.core.measurement import (
    TYPES,
    FlowRow,
    GradientFlow,
    Histograms,
    LossCheck,
    Measurements,
    Source,
    VariableGradient,
)
from tests.support.command_line import run_python

INFO = RunInfo(command=("saldiag", "overfit"), versions={"keras": "3"}, seed=1, config={"a": None})
FLOW = GradientFlow(
    rows=(FlowRow("head", "head", "Softmax", 0, True, 0.41, 0.0),),
    variables=(VariableGradient("conv/kernel", "conv", None, float("nan"), 0.0),),
    loss=0.5,
    training=True,
)


def test_measurements_come_back_as_they_were(tmp_path: Path) -> None:
    run = Run.create("overfit", tmp_path / "run")
    histograms = Histograms(("weights/a",), np.array([3]), np.ones((1, 4)), np.arange(5.0)[None])
    run.write_info(INFO)
    run.write_measurement(FLOW)
    run.write_measurement(histograms)
    found = Run.open(tmp_path / "run").read_measurements()
    assert found.need(GradientFlow).rows == FLOW.rows
    assert found.need(GradientFlow).variables[0].norm is None
    again = found.need(Histograms)
    assert again.names == ("weights/a",)
    np.testing.assert_array_equal(again.edges, histograms.edges)
    with pytest.raises(LookupError, match="loss_check not measured"):
        found.need(LossCheck)


def test_a_diagnosis_comes_back_as_it_was(tmp_path: Path) -> None:
    finding = Finding(
        "SD101",
        "n",
        "error",
        "m",
        "f",
        layers=("a",),
        confidence=1.0,
        evidence={"x": 1.5},
        source=Source("a.py", 3),
    )
    diagnosis = Diagnosis(
        SubjectSummary("m", "mae", 1, 1),
        "does_not_learn",
        RootCause("SD101", "n", ("a",), Source("a.py", 3)),
        (finding,),
    )
    run = Run.create("overfit", tmp_path / "run")
    run.write_diagnosis(diagnosis)
    assert run.read_diagnosis() == diagnosis
    assert diagnosis.root_finding() == finding


def test_a_run_is_never_overwritten(tmp_path: Path) -> None:
    run = Run.create("overfit", tmp_path / "run")
    run.write_info(INFO)
    with pytest.raises(RunError, match="holds a run already"):
        Run.create("overfit", tmp_path / "run")
    assert (tmp_path / "run" / "run.json").is_file()


def test_only_a_run_of_the_same_command_is_gone_on_with(tmp_path: Path) -> None:
    run = Run.create("overfit", tmp_path / "run")
    run.write_info(INFO)
    assert Run.create("overfit", run.path, resume=True).read_info() == INFO
    with pytest.raises(RunError, match="run of saldiag overfit, not of saldiag train"):
        Run.create("train", run.path, resume=True)
    with pytest.raises(RunError, match="no such run directory"):
        Run.create("train", tmp_path / "typo", resume=True)
    assert not (tmp_path / "typo").exists()


@pytest.mark.parametrize(
    ("command", "name"),
    [
        (("saldiag", "train", "--epochs", "1"), "train"),
        (("saldiag", "--debug", "overfit"), "overfit"),
        (("train",), "train"),
        (("saldiag",), ""),
        ((), ""),
    ],
)
def test_the_name_of_the_command_that_made_a_run(command: tuple[str, ...], name: str) -> None:
    assert RunInfo(command, {}, 0, {}).made_by() == name


def test_only_a_run_that_holds_nothing_is_discarded(tmp_path: Path) -> None:
    run = Run.create("overfit", tmp_path / "run")
    run.write_info(INFO)
    run.write_measurement(FLOW)
    run.discard()
    assert run.read_measurements().get(GradientFlow) is not None
    other = Run.create("overfit", tmp_path / "other")
    other.write_info(INFO)
    (other.path / "mine.txt").write_text("kept")
    other.discard()
    assert [path.name for path in other.path.iterdir()] == ["mine.txt"]
    empty = Run.create("overfit", tmp_path / "empty")
    empty.write_info(INFO)
    empty.discard()
    assert not empty.path.exists()


def test_default_directories_do_not_collide(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    paths = {Run.create("overfit").path for _ in range(3)}
    assert len(paths) == 3
    assert all(path.parent.name == "saldiag-runs" for path in paths)


@pytest.mark.parametrize("make", ["missing", "empty", "file"])
def test_opening_what_is_no_run_is_one_clear_line(tmp_path: Path, make: str) -> None:
    path = tmp_path / make
    if make == "empty":
        path.mkdir()
    if make == "file":
        path.write_text("")
    with pytest.raises(RunError, match=str(path)) as caught:
        Run.open(path)
    assert "\n" not in str(caught.value)


def test_an_out_that_cannot_be_made_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("kept")
    with pytest.raises(RunError, match="cannot be written"):
        Run.create("overfit", tmp_path / "file" / "run")
    assert (tmp_path / "file").read_text() == "kept"


def test_a_damaged_measurement_is_named(tmp_path: Path) -> None:
    run = Run.create("overfit", tmp_path / "run")
    run.write_info(INFO)
    run.write_measurement(FLOW)
    path = run.measurements_path / "flow.json"
    path.write_text(path.read_text()[:40])
    with pytest.raises(RunError, match=r"flow\.json: cannot be read"):
        run.read_measurements()


def test_damaged_arrays_are_named_and_leave_no_file_open(tmp_path: Path) -> None:
    run = Run.create("overfit", tmp_path / "run")
    run.write_info(INFO)
    run.write_measurement(FLOW)
    (run.measurements_path / "flow.npz").write_bytes(b"PK\x03\x04 no archive")
    with pytest.raises(RunError, match=r"flow\.npz: cannot be read"):
        run.read_measurements()
    gc.collect()  # an open file would warn now, and warnings are errors


def test_a_newer_measurement_replaces_the_older_and_its_reason() -> None:
    measured = Measurements().without(GradientFlow, "no loss")
    assert measured.reason(GradientFlow) == "no loss"
    assert measured.with_(FLOW).get(GradientFlow) is FLOW
    assert measured.with_(FLOW).missing == {}
    assert measured.with_(FLOW).without(GradientFlow, "gone").get(GradientFlow) is None


def test_keys_of_measurements_are_distinct_file_names() -> None:
    assert len(TYPES) >= 13
    assert all(key.isidentifier() for key in TYPES)


def test_a_forked_child_changes_nothing(tmp_path: Path) -> None:
    done = run_python(FORKS, cwd=tmp_path)
    assert done.stdout == "left with 0\n", done.stderr
    assert Run.open(tmp_path / "run").read_info() == INFO
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["run.json"]


FORKS = """
import os
from pathlib import Path
from dataclasses import replace
from saldiag.core.files.run import Run
from saldiag.core.measurement import ProgramError
from tests.core.test_run import INFO
run = Run.create("run", Path("run"))
run.write_info(INFO)
if (child := os.fork()) == 0:
    run.write_info(replace(INFO, status="failed"))
    run.write_measurement(ProgramError())
    run.discard()
    os._exit(0)
print("left with", os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
