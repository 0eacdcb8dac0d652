"""Ctrl-C and SIGTERM at bad moments: what was measured is kept, and no fault is made of them."""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.support.command_line import (
    read_diagnosis,
    run_saldiag,
    run_saldiag_process,
    start_saldiag_process,
)

pytestmark = [pytest.mark.slow, pytest.mark.tensorflow]

PROGRAM = """
import keras, numpy as np

def model():
    keras.utils.set_random_seed(1)
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1, name="answer")])
    model.compile(keras.optimizers.SGD(0.1), "mse")
    return model

def data():
    x = np.random.default_rng(0).normal(size=(16, 4)).astype("float32")
    return x, 2 * x[:, :1]
"""


def interrupt(*_: Any, **__: Any) -> Any:
    os.kill(os.getpid(), signal.SIGINT)


def fail_in_c(*_: Any, **__: Any) -> Any:
    """C code that loses a Ctrl-C and goes on without what it called for."""
    with contextlib.suppress(KeyboardInterrupt):
        interrupt()
    ctypes.pythonapi.PyList_Size(ctypes.py_object(()))


def fault(*_: Any, **__: Any) -> Any:
    ctypes.pythonapi.PyList_Size(ctypes.py_object(()))


def arguments(command: str, *more: str) -> list[str]:
    return [
        command, "--model", "net.py:model", "--data", "net.py:data", "--batch-size", "8",
        "--out", "run", *more,
    ]  # fmt: skip


def status(run: Path) -> str:
    """Of ``run.json``; every other file is whole, too."""
    from saldiag.core.files.run import Run

    assert not list(run.rglob("*.tmp"))
    Run.open(run).read_measurements()
    for path in run.rglob("*.json"):
        json.loads(path.read_text())
    return str(json.loads((run / "run.json").read_text())["status"])


MOMENTS = {
    "data are read": "saldiag.app.loading.load.load_subject",
    "the model is traced": "saldiag.app.examine.examination.Examination.survey",
    "a probe that may fail": "saldiag.app.commands.diagnose.SourceSnapshot.source_files",
    "a training step": "saldiag.experiments.overfit.overfit_test.OverfitTest.after_step",
    "the gradients are read": "saldiag_probes.training.gradient_norms.GradientNorms._before_apply",
    "rules judge": "saldiag.app.session.session.Session.judge_and_write",
    "the report is written": "saldiag.app.session.output.write_outcome",
}


@pytest.mark.parametrize("moment", MOMENTS)
def test_an_error_that_ctrl_c_caused_is_an_interruption(moment, here, monkeypatch, capsys):
    with monkeypatch.context() as patch:
        once(patch, MOMENTS[moment], fail_in_c)
        assert run_saldiag(*arguments("overfit")) == 2
    shown = capsys.readouterr().err
    assert "interrupted; the measurements so far are in " in shown
    assert "fault in saldiag" not in shown
    assert status(here / "run") == "interrupted"
    assert (here / "run" / "report.html").exists()
    assert "SystemError" not in (here / "run" / "run.json").read_text(), "it is no reason"
    found = read_diagnosis(here / "run")
    known = moment in ("rules judge", "the report is written")
    assert found["verdict"] == ("learns" if known else "inconclusive")
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def once(patch: pytest.MonkeyPatch, target: str, instead: Any) -> None:
    """Patch ``target`` to be itself again from its second call on."""
    from importlib import import_module

    names = target.split(".")
    for end in range(len(names) - 1, 0, -1):
        with contextlib.suppress(ModuleNotFoundError):
            owner: Any = import_module(".".join(names[:end]))
            break
    for name in names[end:-1]:
        owner = getattr(owner, name)
    real = getattr(owner, names[-1])

    def patched(*args: Any, **kwargs: Any) -> Any:
        patch.setattr(owner, names[-1], real)
        return instead(*args, **kwargs)

    patch.setattr(owner, names[-1], patched)


def test_without_a_ctrl_c_it_is_a_fault(here, monkeypatch, capsys):
    monkeypatch.setattr("saldiag.app.examine.examination.Examination.examine_data", fault)
    assert run_saldiag(*arguments("overfit")) == 2
    assert "this is a fault in saldiag: SystemError" in capsys.readouterr().err
    assert status(here / "run") == "failed"


def test_a_fault_after_a_handled_ctrl_c_is_a_fault(here, monkeypatch, capsys):
    monkeypatch.setattr(
        "saldiag.experiments.overfit.overfit_test.OverfitTest.after_step", fail_in_c
    )
    monkeypatch.setattr("saldiag.app.session.output.write_outcome", fault)
    assert run_saldiag(*arguments("overfit")) == 2
    assert "this is a fault in saldiag: SystemError" in capsys.readouterr().err


@pytest.mark.parametrize("second", [interrupt, fail_in_c])
def test_a_second_ctrl_c_ends_without_a_report(second, here, monkeypatch, capsys):
    monkeypatch.setattr(
        "saldiag.experiments.overfit.overfit_test.OverfitTest.after_step", fail_in_c
    )
    with monkeypatch.context() as patch:
        patch.setattr("saldiag_reports.writer.write_reports", second)
        assert run_saldiag(*arguments("overfit")) == 2
    assert capsys.readouterr().err.endswith("saldiag: interrupted\n")
    assert status(here / "run") == "interrupted"
    assert not (here / "run" / "report.html").exists()
    run_saldiag("report", "run")
    assert (here / "run" / "report.html").exists()


def test_interrupted_training_keeps_its_epochs_and_resumes(here, monkeypatch, capsys):
    from saldiag.experiments.training.progress import TrainingProgress

    def lose(bar: Any, batch: int, logs: Any = None) -> None:
        if bar.epoch == 1:
            fail_in_c()

    with monkeypatch.context() as patch:
        patch.setattr(TrainingProgress, "on_train_batch_end", lose)
        assert run_saldiag(*arguments("train", "--epochs", "3")) == 2
    assert "interrupted after 1 whole epoch" in capsys.readouterr().err
    assert status(here / "run") == "interrupted"
    assert run_saldiag(*arguments("train", "--epochs", "3", "--resume")) in (0, 1)
    assert status(here / "run") == "finished"


def test_an_interrupted_experiment_is_not_recorded_as_failed(here, monkeypatch):
    from saldiag.experiments.search.lab import Lab

    whole = Lab._train_curve

    def broken(lab: Lab, prepared: Any, *more: Any) -> Any:
        return fail_in_c() if prepared.change.description else whole(lab, prepared, *more)

    monkeypatch.setattr(Lab, "_train_curve", broken)
    assert run_saldiag(*arguments("prove", "--learning-rate", "1e-9")) == 2
    assert status(here / "run") == "interrupted"
    kept = [path.name for path in (here / "run" / "experiments").glob("*.json")]
    assert kept
    assert all(name.startswith("control-") for name in kept)


FITTED = PROGRAM + "built = model()\nbuilt.fit(*data(), epochs=2, verbose=0)\n"
LOSES = """
import contextlib, ctypes, os, signal
def lose():
    with contextlib.suppress(KeyboardInterrupt):
        os.kill(os.getpid(), signal.SIGINT)
"""


class TestInAProgram:
    @pytest.mark.parametrize(
        "end",
        [
            "sorted(map(lambda _: os.kill(os.getpid(), signal.SIGINT), [1]))",
            "import tensorflow as tf\n"
            "tf.py_function(lambda: os.kill(os.getpid(), signal.SIGINT), [], [])",
            "lose(), ctypes.pythonapi.PyList_Size(ctypes.py_object(()))",
        ],
        ids=["Python", "TensorFlow", "C"],
    )
    def test_ends_it(self, end, program, tmp_path):
        code, found, shown = program(FITTED + LOSES + end)
        assert code == 2
        assert "interrupted; judging what was measured so far" in shown.err
        assert "SD904" not in {finding["rule"] for finding in found["findings"]}
        assert status(tmp_path / "run") == "interrupted"

    @pytest.mark.parametrize("before", ["", LOSES + "lose()\n"])
    def test_a_program_that_goes_on_crashes_by_itself(self, before, program):
        code, _, shown = program(FITTED + before + "1 / 0\n")
        assert code == 2
        assert "the program ended with ZeroDivisionError" in shown.err

    def test_a_program_that_goes_on_ends_as_usual(self, program):
        _, found, shown = program(
            FITTED
            + LOSES
            + "lose()\n"
            + "built.fit(*data(), verbose=0)\n"
            + "signal.signal(signal.SIGINT, lambda *_: print('mine'))\n"
            + "os.kill(os.getpid(), signal.SIGINT)\n"
        )
        assert "interrupted" not in shown.err
        assert "mine" in shown.out
        assert found is not None
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler

    def test_what_asks_for_the_default_handler_finds_it(self, program):
        asked = "signal.getsignal(signal.SIGINT) is signal.default_int_handler"
        _, _, shown = program(FITTED + f"import signal\nprint('default', {asked})\n")
        assert "default True" in shown.out

    @pytest.mark.parametrize("what", [interrupt, fail_in_c])
    @pytest.mark.parametrize(
        "moment",
        ["saldiag.subject.program.crash.program_error", "saldiag.app.session.output.write_outcome"],
    )
    def test_while_saldiag_reports(self, moment, what, here, monkeypatch, capsys):
        (here / "program.py").write_text(FITTED)
        with monkeypatch.context() as patch:
            once(patch, moment, what)
            assert run_saldiag("run", "--out", "run", "program.py") == 2
        shown = capsys.readouterr().err
        assert "interrupted; the measurements so far are in " in shown
        assert status(here / "run") == "interrupted"


WAITS = """
import sys, time
from saldiag.cli.main import main
print("begun", flush=True)
sys.exit(main())
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize(
    ("command", "seconds"),
    [("overfit", 0.5), ("overfit", 2.0), ("overfit", 5.0), ("overfit", 9.0), ("train", 8.0)],
)
def test_at_any_moment(command, seconds, number, here):
    """Where the signal comes depends on the machine; what has to hold does not."""
    long = ["--learning-rate", "1e-9", *(["--epochs", "999999", "--patience", "999999"]
            if command == "train" else ["--max-steps", "999999", "--budget", "600"])]  # fmt: skip
    process = subprocess.Popen(
        [sys.executable, "-c", WAITS, *arguments(command, *long)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == "begun\n"
    time.sleep(seconds)
    assert process.poll() is None
    process.send_signal(number)
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 2, errors
    assert "interrupted" in errors
    assert "fault in saldiag" not in errors
    assert "Traceback" not in errors
    if (here / "run").exists():
        assert status(here / "run") == "interrupted"
        assert (here / "run" / "report.html").exists()


def test_a_program_is_ended_by_sigterm_as_without_saldiag(here):
    (here / "program.py").write_text(
        FITTED + "import os, signal\nos.kill(os.getpid(), signal.SIGTERM)\nprint('went on')\n"
    )
    done = run_saldiag_process("run", "--out", "run", "program.py")
    assert done.returncode == -signal.SIGTERM
    assert "went on" not in done.stdout
    assert status(here / "run") == "running"
    assert (here / "run" / "diagnosis.json").exists()


def test_worker_processes_ignore_ctrl_c(here):
    """A terminal sends it to all of them, and they may be at their imports."""
    options = ["--learning-rate", "1e-9", "--jobs", "2", "--budget", "600"]
    process = start_saldiag_process(
        *arguments("prove", *options), stdout=subprocess.DEVNULL, start_new_session=True
    )
    workers = ["pgrep", "-g", str(process.pid), "-f", "spawn_main"]
    while subprocess.run(workers, stdout=subprocess.DEVNULL, check=False).returncode:
        assert process.poll() is None
        time.sleep(0.05)
    time.sleep(0.5)
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 2, errors
    assert "interrupted; the measurements so far are in " in errors
    assert "Traceback" not in errors
    assert status(here / "run") == "interrupted"
