"""``--format junit|sarif|github`` from the command line: what is on stdout, and what is not."""

from __future__ import annotations

import json
import os
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from saldiag.rules.engine.registry import all_rules
from saldiag_reports.gallery import runs
from tests.support.command_line import run_saldiag, run_saldiag_process
from tests.support.runs import written

CHECKS = ("junit", "sarif", "github")
DIAGNOSING = ("overfit", "gradients", "dtypes", "trainable", "train", "report", "run")

TWO_MODELS = """
import sys
import keras
import numpy as np

print("a program's own line")
keras.utils.set_random_seed(0)
x = np.random.default_rng(0).normal(size=(32, 6)).astype("float32")
y = (x.sum(axis=1, keepdims=True) > 0).astype("float32")

def made(name, last):
    layers = [keras.layers.Dense(8, activation="relu"), keras.layers.Dense(1, activation=last)]
    model = keras.Sequential([keras.Input((6,)), *layers], name=name)
    model.compile("adam", "binary_crossentropy")
    return model

made("well", "sigmoid").fit(x, y, epochs=1, verbose=0)
made("ill", "softmax").fit(x, y, epochs=1, verbose=0)
"""


@pytest.fixture
def run_of_the_case(tmp_path: Path) -> Path:
    return written(runs.broken_run(), tmp_path / "run")


@pytest.mark.parametrize("command", DIAGNOSING)
def test_commands_with_a_diagnosis_have_the_formats_for_checks(command, capsys):
    assert run_saldiag(command, "--format", "xml") == 2
    said = capsys.readouterr().err
    assert all(name in said for name in CHECKS)


@pytest.mark.parametrize(
    "command", [["rules"], ["explain", "SD101"], ["data", "check"], ["selftest"]]
)
@pytest.mark.parametrize("name", CHECKS)
def test_commands_without_a_diagnosis_have_not(command, name, capsys):
    assert run_saldiag(*command, "--format", name) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert name in captured.err


def test_junit_of_a_run_has_a_case_for_each_rule(run_of_the_case, capsys):
    assert run_saldiag("report", run_of_the_case, "--format", "junit") == 1
    (suite,) = ET.fromstring(capsys.readouterr().out)
    assert int(suite.get("tests")) == len(all_rules()) + 1
    assert int(suite.get("failures")) > 0


def test_junit_leaves_out_rules_that_were_not_selected(run_of_the_case, capsys):
    only = ["--rules", "--select", "SD101,SD2"]
    assert run_saldiag("report", run_of_the_case, "--format", "junit", *only) == 1
    (suite,) = ET.fromstring(capsys.readouterr().out)
    codes = {case.get("name")[:3] for case in suite.iter("testcase")}
    assert codes == {"ver", "SD1", "SD2"}


def test_sarif_of_a_run_brings_the_rules_documentation(run_of_the_case, capsys):
    assert run_saldiag("report", run_of_the_case, "--format", "sarif") == 1
    (run,) = json.loads(capsys.readouterr().out)["runs"]
    rules = {rule["id"]: rule for rule in run["tool"]["driver"]["rules"]}
    assert set(rules) == {rule.code for rule in all_rules()}
    assert "Softmax over an axis of size 1" in rules["SD101"]["shortDescription"]["text"]
    assert "## Use instead" in rules["SD101"]["help"]["markdown"]
    first = run["results"][0]
    assert run["tool"]["driver"]["rules"][first["ruleIndex"]]["id"] == first["ruleId"] == "SD101"


def test_github_of_a_run_is_commands_alone(run_of_the_case, capsys):
    assert run_saldiag("report", run_of_the_case, "--format", "github") == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("::error file=")
    assert all(line.startswith("::") for line in lines)


def test_an_old_run_may_name_rules_that_are_gone(run_of_the_case, capsys):
    path = run_of_the_case / "run.json"
    info = json.loads(path.read_text())
    info["config"]["rules"] = {"select": ["SD999"], "ignore": []}
    path.write_text(json.dumps(info))
    assert run_saldiag("report", run_of_the_case, "--format", "junit") == 1
    assert ET.fromstring(capsys.readouterr().out).get("name") == "saldiag"


@pytest.mark.slow
@pytest.mark.parametrize("name", ["json", *CHECKS])
def test_formats_are_ascii_under_an_ascii_stdout(run_of_the_case, name):
    encoding = {"PYTHONUTF8": "0", "PYTHONIOENCODING": "ascii"}
    command = ("report", run_of_the_case, "--format", name)
    result = run_saldiag_process(*command, env={**os.environ, **encoding}, text=False)
    assert result.returncode == 1, result.stderr
    assert result.stdout.isascii()
    if name in ("json", "sarif"):
        json.loads(result.stdout)


@pytest.mark.slow
@pytest.mark.tensorflow
@pytest.mark.parametrize("name", ["json", *CHECKS])
def test_all_models_of_a_program_are_in_one_document(name, tmp_path):
    (tmp_path / "train.py").write_text(TWO_MODELS)
    result = run_saldiag_process("run", "--format", name, "train.py", cwd=tmp_path)
    assert result.returncode == 1, result.stderr
    assert "a program's own line" in result.stderr
    assert "a program's own line" not in result.stdout
    if name == "json":
        found = json.loads(result.stdout)
        assert [one["subject"]["model"] for one in found["models"]] == ["ill", "well"]
        assert found["subject"]["model"] == "ill"
    elif name == "junit":
        assert [suite.get("name") for suite in ET.fromstring(result.stdout)] == ["ill", "well"]
    elif name == "sarif":
        (run,) = json.loads(result.stdout)["runs"]
        assert [one["model"] for one in run["properties"]["diagnoses"]] == ["ill", "well"]
        places = [result["locations"][0]["physicalLocation"] for result in run["results"]]
        assert {place["artifactLocation"]["uri"] for place in places} == {"train.py"}
    else:
        lines = result.stdout.splitlines()
        assert any("SD101" in line and "file=train.py,line=" in line for line in lines)
        assert all(line.startswith("::") for line in lines)
