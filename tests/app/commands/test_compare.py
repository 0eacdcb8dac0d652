"""``saldiag compare``: exit codes, errors, files; and two runs of real programs."""

from __future__ import annotations

import dataclasses
import json

import pytest

from saldiag.cli import main
from saldiag.core.files.jsonio import read_json, write_json
from saldiag.core.files.sources import is_unchanged, recorded_sources
from tests.support.command_line import run_python, run_saldiag_process
from tests.support.findings import finding
from tests.support.runs import case, diagnosis, run, written


@pytest.fixture
def runs(tmp_path, monkeypatch):
    """Write runs and go where they are."""
    monkeypatch.chdir(tmp_path)

    def write(*recorded):
        return [str(written(each, tmp_path / each.name).relative_to(tmp_path)) for each in recorded]

    return write


def test_two_runs_are_compared_on_stdout_and_in_a_page(runs, tmp_path, capsys):
    assert main.main(["compare", *runs(*case()), "--html", "page.html"]) == 0
    captured = capsys.readouterr()
    assert "does not learn" in captured.out
    assert captured.err == "saldiag: drawing the curves …\n"
    assert "broken → fixed" in (tmp_path / "page.html").read_text(encoding="utf-8")


def test_json_is_all_of_stdout(runs, capsys):
    assert main.main(["compare", *runs(*case()), "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["same"] is False


@pytest.mark.parametrize(
    ("severity", "limit", "code"),
    [
        ("error", "error", 1),
        ("warning", "error", 0),
        ("warning", "warning", 1),
        ("info", "info", 1),
    ],
)
def test_new_findings_fail_at_their_severity_if_asked(runs, severity, limit, code):
    names = runs(run("a"), run("b", judged=diagnosis(finding("SD301", severity=severity))))
    assert main.main(["compare", *names]) == 0
    assert main.main(["compare", *names, "--fail-on-new", limit]) == code
    assert main.main(["compare", *reversed(names), "--fail-on-new", limit]) == 0


def test_a_run_that_was_not_judged_has_no_new_findings_and_is_no_pass(runs, capsys):
    names = runs(run("a"), dataclasses.replace(run("b", status="running"), diagnosis=None))
    assert main.main(["compare", *names]) == 0
    assert "b: it is still running, or was killed: it was not judged" in capsys.readouterr().out
    assert main.main(["compare", *names, "--fail-on-new", "error"]) == 2
    assert "saldiag: b: has no diagnosis, which --fail-on-new needs" in capsys.readouterr().err


def test_the_same_run_twice_is_told(runs, capsys):
    (name,) = runs(case()[0])
    assert main.main(["compare", name, f"./{name}"]) == 0
    shown = capsys.readouterr().out
    assert "broken (2): it is the same run as broken" in shown
    assert "No recorded value differs" in shown


def test_a_run_of_a_newer_saldiag_is_refused(runs, tmp_path, capsys):
    names = runs(*case())
    value = read_json(tmp_path / names[1] / "diagnosis.json")
    write_json(tmp_path / names[1] / "diagnosis.json", {**value, "schema_version": 2, "more": []})
    assert main.main(["compare", *names]) == 2
    assert "written by a newer saldiag (schema_version 2, this one reads 1): update" in (
        capsys.readouterr().err
    )


def test_a_damaged_run_is_refused(runs, tmp_path, capsys):
    names = runs(*case())
    (tmp_path / names[0] / "measurements" / "wiring.json").write_text("{")
    assert main.main(["compare", *names]) == 2
    assert "wiring.json: cannot be read" in capsys.readouterr().err


def test_a_page_that_cannot_be_written_is_refused(runs, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert main.main(["compare", *runs(*case()), "--html", "file/page.html"]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "choose another --html" in captured.err


def test_neither_tensorflow_nor_a_plotting_library_is_imported(runs, tmp_path):
    names = runs(*case())
    code = (
        "import sys\nfrom saldiag.cli.main import main\n"
        f"main(['compare', *{names!r}])\nmain(['compare', *{names!r}, '--format', 'json'])\n"
        "heavy = {'tensorflow', 'keras', 'pandas', 'matplotlib', 'scipy'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    result = run_python(code, cwd=tmp_path)
    assert result.returncode == 0, result.stderr


PROGRAM = """
import keras
import numpy as np
from network import build

keras.utils.set_random_seed(1)
x = np.random.default_rng(0).normal(size=(64, 8)).astype("float32")
y = (x.sum(1) > 0).astype("float32")[:, None]
model = build()
model.compile(optimizer=keras.optimizers.Adam({rate}), loss="mse")
model.fit(x, y, epochs=2, batch_size=32, verbose=0)
"""
NETWORK = """
import keras


def build():
    return keras.Sequential([
        keras.Input((8,)), {extra}keras.layers.Dense(8, activation="relu"),
        keras.layers.Dense(1, activation="{last}"),
    ])
"""


@pytest.mark.slow
@pytest.mark.tensorflow
def test_two_versions_of_a_program_are_told_apart(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, rate, extra, last in (
        ("before", 1e-3, "", "softmax"),
        ("after", 3e-3, "keras.layers.Dense(4), ", "sigmoid"),
    ):
        (tmp_path / "train.py").write_text(PROGRAM.format(rate=rate))
        (tmp_path / "network.py").write_text(NETWORK.format(extra=extra, last=last))
        run_saldiag_process("run", "--out", name, "train.py", cwd=tmp_path)
    recorded = recorded_sources(tmp_path / "after")
    assert list(recorded) == ["train.py", "network.py"]
    assert all(is_unchanged(source, tmp_path / file) for file, source in recorded.items())

    assert main.main(["compare", "before", "after", "--format", "json"]) == 0
    told = json.loads(capsys.readouterr().out)
    values = {(row["at"], row["name"]): row["values"] for row in told["rows"]}
    assert values["", "learning rate"] == [1e-3, 3e-3]
    assert values["dense_1", "activation"] == ["softmax", "sigmoid"]
    assert values["dense", "layer"][0] is None
    assert values["dense", "layer"][1].startswith("Dense, output ? x 4")
    gone = {row["rule"] for row in told["findings"] if row["changes"] == ["gone"]}
    assert "SD101" in gone
    assert [row["file"] for row in told["code"]] == ["train.py", "network.py"]
    assert '+        keras.layers.Dense(1, activation="sigmoid"),' in told["code"][1]["diffs"][0]
