"""``saldiag fix``: the diff on stdout, the sentences on stderr, files changed only as agreed."""

from __future__ import annotations

import stat
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from saldiag.cli.main import main
from saldiag.core.files.fingerprints import (
    FilesSeen,
    Fingerprints,
    read_fingerprints,
    write_fingerprints,
)
from saldiag.core.files.run import Run, RunInfo
from saldiag.core.findings.diagnosis import Diagnosis, RootCause, SubjectSummary
from saldiag.core.findings.edit import Edit
from saldiag.core.findings.finding import Finding
from saldiag.core.measurement import LayerCall, Measurements, ProgramPlaces, Source
from saldiag.repair.findings import with_diffs
from tests.support import findings
from tests.support.command_line import run_python
from tests.support.measurements import wiring

CODE = """import keras

x = keras.Input((4,))
h = keras.layers.Dense(1, activation="softmax")(x)
y = keras.layers.Dense(1, activation="softmax")(h)
model = keras.Model(x, y)
model.compile(keras.optimizers.Adam(1e-9), "mse")
"""
MENDED = CODE.replace('activation="softmax")(h)', 'activation="sigmoid")(h)')


@pytest.fixture(autouse=True)
def train_file(here: Path) -> None:
    (here / "train.py").write_text(CODE)


def edit(line: int = 5, layer: str = "head", file: str = "train.py", new='"sigmoid"') -> Edit:
    return Edit(Source(file, line), "Dense", "activation", "softmax", new, layer)


def rate(new: str = "0.001") -> Edit:
    return Edit(Source("train.py", 7), "Adam", "learning_rate", 1e-9, new, within="optimizer")


def finding(*edits: Edit, rule: str = "SD101", **fields) -> Finding:
    source = edits[0].source if edits else Source("train.py", 5)
    fields = {"fix": "do this", "source": source, **fields}
    return findings.finding(rule, edits=edits, **fields)


def layer(path: str, line: int, file: str = "train.py") -> LayerCall:
    source = Source(file, line)
    return LayerCall(path, path, "Dense", 1, True, ("",), ((None, 1),), ((None, 1),), source=source)


LAYERS = (layer("hidden", 4), layer("head", 5))


def recorded(
    *findings: Finding, calls=LAYERS, path: str = "run", file: str = "train.py", compiled: int = 7
) -> Run:
    """A run as a command leaves it."""
    seen = FilesSeen()
    seen.note(file, file)
    measured = Measurements.of(
        wiring(*calls), ProgramPlaces(compiled=Source(file, compiled), trained=None)
    )
    first = findings[0]
    diagnosis = Diagnosis(
        SubjectSummary("m", "mse", 1, 1), "does_not_learn",
        RootCause(first.rule, first.name, first.layers, first.source), findings,
    )  # fmt: skip
    [diagnosis] = with_diffs([(diagnosis, measured)], seen.fingerprints())
    run = Run.create("run", Path(path))
    for measurement in measured:
        run.write_measurement(measurement)
    run.write_diagnosis(diagnosis)
    run.write_info(RunInfo(("saldiag", "run", file), {}, 0, {}, "finished"))
    write_fingerprints(run.path, seen.fingerprints())
    return run


def test_the_diff_is_all_of_stdout_and_applies(capfdbinary) -> None:
    recorded(finding(edit()))
    assert main(["fix", "run"]) == 1
    told = capfdbinary.readouterr()
    assert told.err == b""
    subprocess.run(["git", "apply"], input=told.out, check=True)
    assert Path("train.py").read_text() == MENDED


def test_the_diff_is_kept_in_the_run_and_outlives_the_file() -> None:
    run = recorded(finding(edit()))
    Path("train.py").unlink()
    assert run.read_diagnosis().findings[0].diff.endswith("(x, y)\n model.compile(keras.optimizers"
                                                          '.Adam(1e-9), "mse")\n')  # fmt: skip
    assert main(["report", "run"]) == 1
    assert "+y = keras.layers.Dense(1, activation=&#34;sigmoid&#34;)(h)" in (
        Path("run/report.html").read_text()
    )


def test_write_changes_the_file_and_keeps_the_old_one(capsys) -> None:
    Path("train.py").chmod(0o754)
    recorded(finding(edit()))
    assert main(["fix", "run", "--write"]) == 0
    assert Path("train.py").read_text() == MENDED
    assert Path("train.py.bak").read_text() == CODE
    assert [stat.S_IMODE(Path(f"train.py{e}").stat().st_mode) for e in ("", ".bak")] == [0o754] * 2
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err == "saldiag: fixed train.py (original: train.py.bak)\n"


def test_an_older_backup_is_never_overwritten() -> None:
    Path("train.py.bak").write_text("older")
    Path("train.py.bak2").mkdir()
    recorded(finding(edit()))
    main(["fix", "run", "--write"])
    assert Path("train.py.bak").read_text() == "older"
    assert Path("train.py.bak3").read_text() == CODE


@pytest.mark.parametrize("option", ["--diff", "--write"])
def test_a_file_that_has_changed_is_left_alone(option: str, capsys) -> None:
    recorded(finding(edit()))
    Path("train.py").write_text(CODE + "# a comment\n")
    assert main(["fix", "run", option]) == 2
    assert (
        "train.py has changed since the run read it: run saldiag again" in capsys.readouterr().err
    )
    assert Path("train.py").read_text() == CODE + "# a comment\n"
    assert not list(Path().glob("*.bak*"))


def test_a_file_that_is_gone_is_told(capsys) -> None:
    recorded(finding(edit()))
    Path("train.py").unlink()
    assert main(["fix", "run"]) == 2
    assert "train.py: No such file or directory" in capsys.readouterr().err


def test_what_no_edit_mends_is_told_with_its_sentence(capsys) -> None:
    recorded(finding(edit()), finding(rule="SD601", fix="divide by\n255"))
    assert main(["fix", "run", "--write"]) == 1
    told = capsys.readouterr()
    assert "train.py:5: SD601 single-channel-softmax: divide by 255\n" in told.err
    assert Path("train.py").read_text() == MENDED


def test_nothing_to_mend_is_0(capsys) -> None:
    recorded(finding(severity="info"))
    assert main(["fix", "run"]) == 0
    assert capsys.readouterr() == ("", "")


def test_consequences_and_remarks_are_mended_only_when_named(capsys) -> None:
    remark = finding(edit(4, "hidden", new="None"), rule="SD111", severity="info")
    recorded(finding(edit()), finding(rate(), rule="SD702", explained_by="SD101"), remark)
    main(["fix", "run"])
    assert capsys.readouterr().out.count("\n+") == 2
    main(["fix", "run", "--rule", "SD702"])
    assert "+model.compile(keras.optimizers.Adam(0.001)" in capsys.readouterr().out
    main(["fix", "run", "--rule", "bias-before-batchnorm"])
    assert "activation=None)(x)" in capsys.readouterr().out
    assert main(["fix", "run", "--rule", "SD999"]) == 2


def test_findings_that_want_the_same_place_are_mended_one_after_the_other(capsys) -> None:
    recorded(finding(edit()), finding(edit(new='"linear"'), rule="SD107"))
    assert main(["fix", "run"]) == 1
    told = capsys.readouterr()
    assert '+y = keras.layers.Dense(1, activation="sigmoid")(h)' in told.out
    assert "SD107 single-channel-softmax: do this (no edit: two edits overlap)" in (told.err)


def test_a_line_that_makes_other_layers_too_is_left_alone(capsys) -> None:
    run = recorded(finding(edit()), calls=(*LAYERS, layer("head_1", 5)))
    assert run.read_diagnosis().findings[0].by_hand == "line 5 creates other layers, too"
    assert run.read_diagnosis().findings[0].diff == ""
    assert main(["fix", "run"]) == 1
    assert capsys.readouterr().out == ""


def test_a_line_all_of_whose_layers_are_at_fault_is_mended() -> None:
    both = finding(edit(), edit(layer="head_1"))
    run = recorded(both, calls=(*LAYERS, layer("head_1", 5)))
    assert run.read_diagnosis().findings[0].diff.count("\n+y") == 1


def test_the_other_models_of_the_program_count_too(capsys) -> None:
    recorded(finding(edit()))
    recorded(finding(), path="run/model-2-other")
    assert main(["fix", "run"]) == 1
    assert "line 5 creates other layers, too" in capsys.readouterr().err
    recorded(finding(rate()), path="two")
    recorded(finding(), path="two/model-2-other")
    assert main(["fix", "two"]) == 1
    assert "line 7 compiles other models, too" in capsys.readouterr().err
    recorded(finding(rate()), path="far")
    recorded(finding(), path="far/model-2-other", compiled=8)
    assert "+model.compile" in (main(["fix", "far"]), capsys.readouterr().out)[1]


@pytest.mark.parametrize(
    ("file", "reason"),
    [("train.ipynb[2]", "in a notebook cell"), ("<string>", "notebook cell"),
     ("other.py", "not available")],
)  # fmt: skip
def test_what_is_no_file_gets_the_sentence(file: str, reason: str) -> None:
    run = recorded(finding(edit(file=file)))
    assert reason in run.read_diagnosis().findings[0].by_hand


def test_installed_packages_are_left_alone() -> None:
    folder = Path("site-packages/theirs")
    folder.mkdir(parents=True)
    (folder / "net.py").write_text(CODE)
    file = str(folder / "net.py")
    run = recorded(finding(edit(file=file)), file=file)
    assert run.read_diagnosis().findings[0].by_hand == "it is in an installed package"


def test_the_names_of_a_file_cannot_break_the_diff_or_the_screen(capfdbinary) -> None:
    name = 'a\x1b[2J\n"+++ b.py'
    Path(name).write_text(CODE)
    recorded(finding(edit(file=name), fix="\x1b]0;x\x07"), finding(rule="SD601", fix="\x1b[2J"),
             calls=tuple(replace(c, source=Source(name, c.source.line)) for c in LAYERS),
             file=name)  # fmt: skip
    assert main(["fix", "run"]) == 1
    told = capfdbinary.readouterr()
    assert b"\x1b" not in told.out + told.err
    subprocess.run(["git", "apply"], input=told.out, check=True)
    assert Path(name).read_text() == MENDED


def test_an_edit_of_a_run_from_elsewhere_cannot_bring_code_along(capsys) -> None:
    recorded(finding(edit(new="__import__('os').system('true')")))
    assert main(["fix", "run", "--write"]) == 1
    assert "not a literal" in capsys.readouterr().err
    assert Path("train.py").read_text() == CODE


def test_a_run_without_fingerprints_or_run_is_told(capsys) -> None:
    run = recorded(finding(edit()))
    (run.path / "sources.json").unlink()
    assert main(["fix", "run"]) == 1
    assert "the file is not available" in capsys.readouterr().err
    (run.path / "sources.json").write_text("{")
    assert main(["fix", "run"]) == 2
    assert main(["fix", "nowhere"]) == 2
    assert main(["fix", "run", "--diff", "--write"]) == 2


def test_it_works_from_another_directory(tmp_path: Path, monkeypatch, capsys) -> None:
    recorded(finding(edit()))
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert main(["fix", "../run"]) == 1
    assert f"--- {tmp_path}/train.py" in capsys.readouterr().out
    assert main(["fix", "../run", "--write"]) == 0
    assert (tmp_path / "train.py").read_text() == MENDED


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    Path("real.py").write_text(CODE)
    Path("train.py").unlink()
    Path("train.py").symlink_to("real.py")
    recorded(finding(edit()))
    assert main(["fix", "run", "--write"]) == 0
    assert Path("train.py").is_symlink()
    assert Path("real.py").read_text() == MENDED


def test_a_file_is_fingerprinted_when_it_is_first_seen() -> None:
    seen = FilesSeen()
    seen.note("train.py", "train.py")
    first = seen.fingerprints()
    Path("train.py").write_text("other")
    seen.note("train.py", "train.py")
    seen.note("nowhere.py", "nowhere.py")
    assert seen.fingerprints() == first
    another = FilesSeen()
    another.note("train.py", "train.py")
    assert another.fingerprints() != first
    write_fingerprints(Path(), first.only(["train.py"]))
    assert read_fingerprints(Path()) == first
    assert first.only([]) == Fingerprints()


def test_a_program_that_goes_elsewhere_is_still_the_one_that_ran(tmp_path, monkeypatch) -> None:
    seen = FilesSeen()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "train.py").write_text("another")
    monkeypatch.chdir(tmp_path / "elsewhere")
    seen.note("train.py", "train.py")
    assert seen.fingerprints().files[0].path == str((tmp_path / "train.py").resolve())


def test_it_needs_no_tensorflow() -> None:
    recorded(finding(edit()))
    code = (
        "import sys; from saldiag.cli.main import main; code = main(['fix', 'run', '--write']);"
        "sys.exit(10 + code + 100 * any(m in sys.modules for m in ('tensorflow', 'keras')))"
    )
    done = run_python(code)
    assert done.returncode == 10, done.stderr
