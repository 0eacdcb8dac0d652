"""The commands from end to end, on the smallest pictures: what they print, write and return."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from saldiag.app.session.options import has_gpu
from tests.support.command_line import (
    read_diagnosis,
    run_python,
    run_saldiag,
    start_saldiag_process,
)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.tensorflow,
    # Keras says these of the faults of the case, which is the point of the case.
    pytest.mark.filterwarnings("ignore:You are using a softmax over axis:UserWarning"),
]

SMALL = ("--image-size", "32", "--batch-size", "4", "--weights", "random")


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sample")
    assert run_saldiag("data", "sample", folder / "set", "--count", "24") == 0
    return folder / "set"


def diagnosis(folder: Path) -> dict[str, Any]:
    from jsonschema import validate

    from saldiag_reports.formats.printed.json import load_schema

    found = read_diagnosis(folder)
    validate(found, load_schema("diagnosis"))
    validate(json.loads((folder / "run.json").read_text()), load_schema("run"))
    return found


def everything_is_there(folder: Path, status: str = "finished") -> None:
    assert json.loads((folder / "run.json").read_text())["status"] == status
    assert "<html" in (folder / "report.html").read_text()
    assert list((folder / "tensorboard").iterdir())
    assert list((folder / "measurements").iterdir())
    assert not list(folder.rglob("*.tmp"))


def test_the_case_is_named_with_layer_and_line(
    sample: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    code = run_saldiag(
        "overfit", "--model", "quicksal-as-reported", "--format", "json",
        "--data", sample, "--out", out, *SMALL,
    )  # fmt: skip
    assert code == 1
    printed = json.loads(capsys.readouterr().out)
    assert printed == diagnosis(out)
    assert printed["verdict"] == "does_not_learn"
    cause = printed["root_cause"]
    assert cause["rule"] == "SD101"
    assert {"softmax_output", "Convf2"} & set(cause["layers"])
    line = Path(cause["source"]["file"]).read_text().splitlines()[cause["source"]["line"] - 1]
    assert "softmax" in line
    named = {finding["rule"] for finding in printed["findings"]}
    assert {"SD104", "SD105", "SD404", "SD901"} <= named, "the other faults stand as well"
    hidden = next(f for f in printed["findings"] if f["rule"] == "SD901")
    assert hidden["severity"] == "warning"
    everything_is_there(out)


def test_one_channel_softmax_under_bce_is_named_though_it_trains(
    sample: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    code = run_saldiag(
        "overfit", "--model", "quicksal-as-reported:softmax_head", "--loss", "bce",
        "--data", sample, "--out", out, "--max-steps", "3", *SMALL,
    )  # fmt: skip
    assert code == 1
    assert diagnosis(out)["root_cause"]["rule"] == "SD101"


def test_quicksal_learns_without_an_error_finding(sample: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    code = run_saldiag(
        "overfit", "--data", sample, "--out", out, "--budget", "600",
        "--image-size", "64", "--batch-size", "4", "--weights", "random",
    )  # fmt: skip
    found = diagnosis(out)
    assert (code, found["verdict"]) == (0, "learns"), found
    assert [f for f in found["findings"] if f["severity"] == "error"] == []
    everything_is_there(out)


def test_gradients(sample: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "run"
    code = run_saldiag("gradients", "--steps", "2", "--data", sample, "--out", out, *SMALL)
    assert code == 0
    assert diagnosis(out)["verdict"] == "not_tested"
    with np.load(out / "measurements" / "gradients.npz") as measured:
        assert measured["steps"].tolist() == [0, 1]
        assert np.isfinite(measured["norm"]).all()
    assert "Convf2" in capsys.readouterr().out
    everything_is_there(out)


def test_dtypes_find_the_float32_islands_without_a_step(
    sample: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import keras

    out = tmp_path / "run"
    try:
        code = run_saldiag(
            "dtypes", "--model", "quicksal-as-reported:float32_islands",
            "--precision", "mixed_float16", "--data", sample, "--out", out, *SMALL,
        )  # fmt: skip
    finally:
        keras.mixed_precision.set_global_policy("float32")
    assert code == 0
    assert "SD503" in {f["rule"] for f in diagnosis(out)["findings"]}
    assert not (out / "measurements" / "flow.json").exists()
    assert "float16" in capsys.readouterr().out


def test_trainable_finds_the_flag_that_its_parent_contradicts(
    sample: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    code = run_saldiag(
        "trainable", "--model", "quicksal-as-reported:shadowed_trainable,random_expand",
        "--fail-on", "warning", "--data", sample, "--out", out, *SMALL,
    )  # fmt: skip
    assert code == 1
    named = {f["rule"]: f for f in diagnosis(out)["findings"]}
    assert "encoder/bir_1/expand" in named["SD404"]["layers"]
    assert "bir_1" in capsys.readouterr().out


def test_gradients_of_a_constant_output_give_a_verdict(sample: Path, tmp_path: Path) -> None:
    model = "quicksal-as-reported:softmax_head"
    out = tmp_path / "run"
    code = run_saldiag(
        "gradients", "--steps", "2", "--model", model, "--data", sample, "--out", out,
        *SMALL,
    )  # fmt: skip
    found = diagnosis(out)
    assert (code, found["verdict"]) == (1, "does_not_learn")
    assert found["root_cause"]["rule"] == "SD101"
    assert found["subject"]["model"] == model, "which faults were on"


def test_a_command_that_fails_leaves_no_run_behind(sample: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    wrong = ("overfit", "--data", sample, "--out", out, *SMALL, "--weights", "typo")
    assert run_saldiag(*wrong) == 2
    assert not out.exists()


TRAIN = ("--epochs", "2", "--subset", "0.3", "--step-size", "4", *SMALL)
UNASKED = ("overfit", "program_error")


def test_train_and_resume(sample: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "run"
    code = run_saldiag("train", "--data", sample, "--out", out, *TRAIN)
    printed = capsys.readouterr().err
    assert code == 0, printed
    assert "precision float32: there is no GPU" in printed or has_gpu()
    everything_is_there(out)
    assert (out / "checkpoints" / "best.keras").is_file()
    history = json.loads((out / "measurements" / "training.json").read_text())
    assert {"loss", "val_loss", "weighted_f_beta"} & set(history["names"])
    again = run_saldiag("train", "--data", sample, "--out", out, *TRAIN)
    assert again == 2, "a run is never overwritten"
    assert "--resume" in capsys.readouterr().err
    more = (*TRAIN[:1], "3", *TRAIN[2:])
    assert run_saldiag("train", "--data", sample, "--out", out, "--resume", *more) == 0
    reasons = {skipped["reason"] for skipped in diagnosis(out)["skipped"]}
    lacking = {reason for reason in reasons if reason.endswith("not measured by this command")}
    assert lacking == {f"{what} not measured by this command" for what in UNASKED}
    with np.load(out / "measurements" / "training.npz") as measured:
        assert measured["epochs"].tolist() == [1, 2, 3]


def test_report_draws_a_run_again_without_tensorflow(sample: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    assert run_saldiag("dtypes", "--data", sample, "--out", out, *SMALL) == 0
    before = (out / "report.html").read_text()
    (out / "report.html").unlink()
    code = (
        "import sys; sys.modules['tensorflow'] = None; sys.modules['keras'] = None\n"
        f"from saldiag.cli.main import main; sys.exit(main(['report', {str(out)!r}]))"
    )
    result = run_python(code)
    assert result.returncode == 0, result.stderr
    assert (out / "report.html").read_text() == before


def interrupted(sample: Path, out: Path) -> tuple[int, str]:
    """Ctrl-C in the middle of the overfit test: exit code and stderr."""
    process = start_saldiag_process(
        "overfit", "--learning-rate", "1e-9", "--max-steps", "1000000", "--budget", "900",
        "--data", sample, "--out", out, *SMALL,
    )  # fmt: skip
    deadline = time.monotonic() + 400
    while not (out / "measurements" / "loss_check.json").exists():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.2)
    time.sleep(5)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=300)
    return process.returncode, errors


def test_ctrl_c_half_way_keeps_what_was_measured(sample: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    code, errors = interrupted(sample, out)
    assert code == 2, errors
    assert "interrupted" in errors
    assert "Traceback" not in errors
    everything_is_there(out, "interrupted")
    assert diagnosis(out)["verdict"] == "inconclusive"


def damaged(kind: str, sample: Path, tmp_path: Path) -> Path:
    """A data set with one thing wrong."""
    folder = tmp_path / kind
    if kind == "missing":
        return folder
    if kind == "empty":
        folder.mkdir()
        return folder
    if kind == "zip":
        (tmp_path / "corrupt.zip").write_bytes(b"PK\x03\x04 not a zip at all")
        return tmp_path / "corrupt.zip"
    shutil.copytree(sample, folder)
    images = sorted((folder / "Imgs").glob("*.jpg"))
    if kind == "unpaired":
        images[3].unlink()
    for path in images if kind == "truncated" else []:
        path.write_bytes(path.read_bytes()[:300])
    return folder


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("missing", "missing"),
        ("empty", "empty"),
        ("zip", "corrupt.zip"),
        ("truncated", ".jpg"),
        ("unpaired", "data check"),
    ],
)
def test_damaged_data_is_one_line_and_exit_2(
    kind: str, said: str, sample: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = damaged(kind, sample, tmp_path)
    capsys.readouterr()
    code = run_saldiag("overfit", "--data", data, "--out", tmp_path / "run", *SMALL)
    said_all = capsys.readouterr().err.strip()
    assert code == 2
    assert said in said_all
    assert said_all.count("\n") == 0, said_all
    assert "fault in saldiag" not in said_all


def test_an_archive_is_read_as_it_is(sample: Path, tmp_path: Path) -> None:
    archive = tmp_path / "MSRA10K_Imgs_GT.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as stream:
        for path in (sample / "Imgs").iterdir():
            stream.write(path, f"MSRA10K_Imgs_GT/Imgs/{path.name}")
    out = tmp_path / "run"
    assert run_saldiag("dtypes", "--data", archive, "--out", out, *SMALL) == 0
    assert run_saldiag("data", "check", archive) == 0


@pytest.mark.parametrize("content", [b"", b"not weights", b"\x89HDF\r\n\x1a\n truncated"])
@pytest.mark.parametrize("name", ["w.weights.h5", "w.keras", "w.npz"])
def test_bad_weights_are_one_line_and_exit_2(
    name: str, content: bytes, sample: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / name).write_bytes(content)
    code = run_saldiag(
        "dtypes", "--data", sample, "--weights", str(tmp_path / name),
        "--out", tmp_path / "run", *SMALL[:4],
    )  # fmt: skip
    said = capsys.readouterr().err.strip()
    assert code == 2
    assert name in said
    assert said.count("\n") == 0, said
    assert "fault in saldiag" not in said


def test_weights_of_another_model_name_the_first_layer_that_does_not_fit(
    sample: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.savez(
        tmp_path / "w.npz", **{"Conv1/kernel": np.ones((5, 5, 3, 8)), "Conv1/bias": np.ones(8)}
    )
    code = run_saldiag(
        "dtypes", "--data", sample, "--weights", str(tmp_path / "w.npz"),
        "--out", tmp_path / "run", *SMALL[:4],
    )  # fmt: skip
    said = capsys.readouterr().err
    assert code == 2
    assert "Conv1" in said


def test_an_out_that_is_a_file_is_refused_and_the_file_kept(
    sample: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("kept")
    code = run_saldiag("dtypes", "--data", sample, "--out", tmp_path / "file" / "run", *SMALL)
    assert code == 2
    assert "cannot be written" in capsys.readouterr().err
    assert (tmp_path / "file").read_text() == "kept"


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Any:
    """A file system of 300 kB; only root may mount one."""
    place = tmp_path / "tiny"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", str(place)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("cannot mount a small file system here")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def test_a_full_disk_is_one_line_and_keeps_what_was_there(
    sample: Path, tiny_disk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tiny_disk / "mine.txt").write_text("kept")
    code = run_saldiag("dtypes", "--data", sample, "--out", tiny_disk / "run", *SMALL)
    said = capsys.readouterr().err.strip()
    assert code == 2
    assert "No space left" in said or "disk is full" in said
    assert said.count("\n") == 0, said
    assert (tiny_disk / "mine.txt").read_text() == "kept"
    assert not list(tiny_disk.rglob("*.tmp"))


def test_real_photographs_with_pretrained_weights_are_learnt(
    real_data: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    code = run_saldiag(
        "overfit", "--data", str(real_data / "ecssd-240"), "--out", out, "--budget", "600",
        "--weights", str(real_data / "weights" / "mobilenet_v2_1.0_224_folded_f16.npz"),
    )  # fmt: skip
    found = diagnosis(out)
    assert (code, found["verdict"]) == (0, "learns"), found
    assert [f for f in found["findings"] if f["severity"] == "error"] == []
