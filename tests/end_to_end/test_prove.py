"""``saldiag prove`` from end to end: the answer, side by side, and after a kill."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time

import numpy as np
import pytest

from tests.support.command_line import read_diagnosis, run_saldiag, start_saldiag_process

pytestmark = [
    pytest.mark.slow,
    pytest.mark.tensorflow,
    pytest.mark.filterwarnings("ignore:You are using a softmax:UserWarning"),  # that is the fault
]

TEMPLATE = """
import keras, numpy as np

def model():
    keras.utils.set_random_seed(1)
    model = keras.Sequential([
        keras.Input((8,)),
        keras.layers.Dense(64, activation="relu", name="hidden"),
        keras.layers.Dense(1, activation="{activation}", name="answer"),
    ])
    model.compile(keras.optimizers.Adam(0.02), "mse")
    return model

def data():
    random = np.random.default_rng(0)
    x = random.normal(size=(32, 8)).astype("float32")
    return x, (x[:, :1] > 0).astype("float32")

if __name__ == "__main__":
    built = model()
    built.fit(*data(), epochs=2, batch_size=16, verbose=0)
"""


@pytest.fixture
def folder(here):
    (here / "broken.py").write_text(TEMPLATE.format(activation="softmax"))
    (here / "healthy.py").write_text(TEMPLATE.format(activation="sigmoid"))
    return here


def arguments(name, out, *more):
    options = ["--model", f"{name}.py:model", "--data", f"{name}.py:data", "--batch-size", "16"]
    return ["prove", *options, "--items", "32", "--out", out, *more]


def told(out):
    found = read_diagnosis(out)
    return {h["name"]: (h["outcome"], h["score"], h["interval"]) for h in found["hypotheses"]}


def test_the_cause_is_confirmed_and_a_suspicion_refuted(folder):
    assert run_saldiag(*arguments("broken", "one", "--suspect", "vanishing gradients")) == 1
    found = read_diagnosis(folder / "one")
    assert found["findings"][0]["rule"] == "SD101"
    assert found["findings"][0]["confirmed_by"] == "fitting-output"
    first = found["hypotheses"][0]
    assert (first["name"], first["outcome"], first["seeds"]) == ("fitting-output", "confirmed", 3)
    assert first["intervention"] == "replacing softmax by sigmoid on answer"
    assert first["layers"] == ["answer"]
    assert first["error"][1] < first["error"][0] / 2
    scaled = next(h for h in found["hypotheses"] if h["name"] == "scaled-loss")
    assert (scaled["outcome"], scaled["seeds"], scaled["effect"]) == ("refuted", 3, 0.0)
    assert scaled["suspected_by"] == ["vanishing gradients"]


def test_two_processes_decide_the_same_as_one(folder):
    run_saldiag(*arguments("broken", "one", "--suspect", "learning rate"))
    run_saldiag(*arguments("broken", "two", "--suspect", "learning rate", "--jobs", "2"))
    one, two = told(folder / "one"), told(folder / "two")
    assert {name: outcome for name, (outcome, *_) in one.items()} == {
        name: outcome for name, (outcome, *_) in two.items()
    }
    np.testing.assert_allclose(one["fitting-output"][1], two["fitting-output"][1], atol=1e-3)


def test_a_model_that_learns_has_nothing_confirmed(folder):
    assert run_saldiag(*arguments("healthy", "well")) == 0
    outcomes = {outcome for outcome, *_ in told(folder / "well").values()}
    assert outcomes == {"not applicable"}


def test_a_killed_run_resumes_with_its_finished_experiments(folder):
    more = ["--suspect", "learning rate", "--suspect", "vanishing gradients"]
    run_saldiag(*arguments("broken", "whole", *more))
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = start_saldiag_process(*arguments("broken", "killed", *more), **quiet)
    jobs = folder / "killed" / "experiments"
    until = time.monotonic() + 240
    while len(list(jobs.glob("*.json"))) < 2 and time.monotonic() < until:
        assert process.poll() is None, "it ended before it could be killed"
        time.sleep(0.05)
    process.kill()
    process.wait()
    kept = {path.name: path.stat().st_mtime_ns for path in jobs.glob("*.json")}
    assert run_saldiag(*arguments("broken", "killed", *more, "--resume")) == 1
    assert told(folder / "killed") == told(folder / "whole")
    assert {name: (jobs / name).stat().st_mtime_ns for name in kept} == kept


def test_resume_with_other_options_is_refused(folder, capsys):
    run_saldiag(*arguments("broken", "one", "--budget", "1s"))
    assert run_saldiag(*arguments("broken", "one", "--resume", "--learning-rate", "0.5")) == 2
    assert "was run with learning-rate None, not 0.5" in capsys.readouterr().err


def test_ctrl_c_keeps_finished_experiments(folder):
    command = arguments("broken", "cut", "--jobs", "2")
    process = start_saldiag_process(*command, stdout=subprocess.DEVNULL, start_new_session=True)
    jobs = folder / "cut" / "experiments"
    until = time.monotonic() + 240
    while not list(jobs.glob("control-*.json")) and time.monotonic() < until:
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGINT)
    _, error = process.communicate(timeout=120)
    assert process.returncode == 2, error
    assert json.loads((folder / "cut" / "run.json").read_text())["status"] == "interrupted"
    kept = json.loads((folder / "cut" / "measurements" / "experiments.json").read_text())
    assert kept["ended"] == "interrupted"
    assert kept["controls"][0]["curves"]


def test_a_program_is_experimented_on_before_it_trains(folder):
    assert run_saldiag("run", "--experiments", "--out", "ran", "broken.py") == 1
    assert told(folder / "ran")["fitting-output"][0] == "confirmed"


def test_an_unknown_suspicion_exits_with_2(folder, capsys):
    assert run_saldiag(*arguments("broken", "none", "--suspect", "moon phase")) == 2
    assert "no experiment matches" in capsys.readouterr().err
    assert not (folder / "none").exists()


def test_resume_needs_a_run(folder, capsys):
    assert run_saldiag(*arguments("broken", "nowhere", "--resume")) == 2
    assert "no such run directory" in capsys.readouterr().err


def test_a_cluster_that_is_not_there_is_named(folder, capsys):
    assert run_saldiag(*arguments("broken", "far", "--ray", "127.0.0.1:1")) == 2
    assert "--ray" in capsys.readouterr().err


def test_a_loss_that_refuses_the_labels_is_replaced(folder):
    program = TEMPLATE.format(activation="softmax").replace("Dense(1,", "Dense(3,")
    program = program.replace('"mse"', '"categorical_crossentropy"')
    program = program.replace(
        '(x[:, :1] > 0).astype("float32")', '(x[:, 0] > 0).astype("int64") + (x[:, 1] > 0)'
    )
    (folder / "labels.py").write_text(program)
    assert run_saldiag(*arguments("labels", "run")) == 1
    found = read_diagnosis(folder / "run")
    assert found["root_cause"]["rule"] == "SD108"
    assert found["findings"][0]["confirmed_by"] == "fitting-loss"
