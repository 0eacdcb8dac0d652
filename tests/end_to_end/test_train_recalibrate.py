"""``saldiag train --recalibrate``: what validation and the best checkpoint see of it."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from saldiag.core.errors import RunError
from saldiag.core.files.run import Run
from tests.support.command_line import run_saldiag
from tests.support.training import pictures, small_recipe, tiny_model, train, values, worker

pytestmark = pytest.mark.tensorflow

PROGRAM = """
import keras, numpy as np

def model():
    made = keras.Sequential([
        keras.Input((4,)), keras.layers.Dense(16, activation="relu", name="hidden"),
        keras.layers.BatchNormalization(momentum=0.999, name="norm"), keras.layers.Dense(1),
    ])
    made.compile(keras.optimizers.Adam(1e-2), "mse")
    return made

def plain():
    made = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
    made.compile("adam", "mse")
    return made

def data():
    x = 5 + np.random.default_rng(0).normal(size=(60, 4)).astype("float32")
    return x, x[:, :1]
"""


def arrays(path: Path) -> dict[str, Any]:
    with np.load(path) as stored:
        return dict(stored)


def history(run: Path) -> dict[str, Any]:
    names = json.loads((run / "measurements" / "training.json").read_text())["names"]
    return dict(zip(names, arrays(run / "measurements" / "training.npz")["values"], strict=True))


def test_the_best_model_holds_the_statistics_of_its_weights(tmp_path: Path) -> None:
    import keras

    outcome = train(tmp_path / "run", small_recipe(recalibrate=True))
    best = keras.models.load_model(outcome.best_path)
    images, _ = pictures()  # an epoch's batches hold each of them once
    inside = np.asarray(best.get_layer("first")(images), np.float64)
    norm = best.get_layer("norm")
    np.testing.assert_allclose(norm.moving_mean, inside.mean((0, 1, 2)), rtol=1e-4)
    np.testing.assert_allclose(norm.moving_variance, inside.var((0, 1, 2)), rtol=1e-4)
    seen = best.evaluate(*pictures(8, seed=1), verbose=0, return_dict=True)["loss"]
    assert seen == pytest.approx(values(outcome.history, "val_loss").min(), rel=1e-5)
    assert Run.open(tmp_path / "run").read_info().config["recalibrate"] is True


@pytest.mark.slow
def test_training_is_the_same_bit_for_bit_and_so_is_a_resumed_run(tmp_path: Path) -> None:
    plain = worker(tmp_path / "plain")
    whole = worker(tmp_path / "whole", "--recalibrate")
    killed = worker(tmp_path / "killed", "--recalibrate", "--kill-at-step", "7")
    resumed = worker(tmp_path / "killed", "--recalibrate", "--resume")
    assert (plain.returncode, whole.returncode, killed.returncode) == (0, 0, -9), whole.stderr
    assert resumed.returncode == 0, resumed.stderr

    one, other = history(tmp_path / "plain"), history(tmp_path / "whole")
    np.testing.assert_array_equal(one["loss"], other["loss"])
    assert (one["val_loss"] != other["val_loss"]).all()
    for name in ("checkpoints/state.npz", "measurements/training.npz"):
        there, here = arrays(tmp_path / "whole" / name), arrays(tmp_path / "killed" / name)
        assert there.keys() == here.keys()
        for key in there:
            np.testing.assert_array_equal(there[key], here[key], err_msg=f"{name} {key}")
    assert json.loads(resumed.stdout.splitlines()[-1]) == json.loads(whole.stdout.splitlines()[-1])


def test_resuming_with_another_setting_is_refused(tmp_path: Path) -> None:
    train(tmp_path / "run", small_recipe(epochs=1))
    with pytest.raises(RunError, match="was trained with recalibrate=False, not True"):
        train(tmp_path / "run", small_recipe(epochs=2, recalibrate=True), resume=True)


def test_a_run_recorded_without_the_setting_resumes(tmp_path: Path) -> None:
    train(tmp_path / "run", small_recipe(epochs=1))
    path = tmp_path / "run" / "checkpoints" / "state.npz"
    state = arrays(path)
    progress = json.loads(str(state.pop("progress")))
    del progress["recipe"]["recalibrate"]
    np.savez(path, progress=np.array(json.dumps(progress)), **state)
    outcome = train(tmp_path / "run", small_recipe(epochs=2), resume=True)
    assert len(outcome.history.epochs) == 2
    with pytest.raises(RunError, match="was trained with recalibrate=False, not True"):
        train(tmp_path / "run", small_recipe(epochs=3, recalibrate=True), resume=True)


def test_a_model_in_inference_mode_gets_one_line(tmp_path: Path) -> None:
    def frozen() -> Any:
        model = tiny_model()
        model.get_layer("norm").trainable = False
        return model

    console = Console(file=io.StringIO(), width=200)
    outcome = train(
        tmp_path / "run", small_recipe(epochs=2, recalibrate=True), frozen, console=console
    )
    assert outcome.stopped == "epochs"
    assert console.file.getvalue().count("--recalibrate has no effect") == 1


def test_a_model_of_the_users_from_the_command_line(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(out: str, *arguments: str, model: str = "model") -> Any:
        made = ("--model", f"net.py:{model}", "--data", "net.py:data", "--batch-size", "16")
        run_saldiag("train", *made, "--epochs", "3", "--out", out, *arguments)
        return history(here / out)

    lagging, renewed = run("lagging"), run("renewed", "--recalibrate")
    np.testing.assert_allclose(renewed["loss"], lagging["loss"], rtol=1e-5)
    assert renewed["val_loss"][-1] == pytest.approx(renewed["loss"][-1], rel=0.15)
    assert lagging["val_loss"][-1] != pytest.approx(lagging["loss"][-1], rel=0.5)
    assert json.loads((here / "renewed" / "run.json").read_text())["config"]["recalibrate"]
    assert not json.loads((here / "lagging" / "run.json").read_text())["config"]["recalibrate"]
    capsys.readouterr()
    run("plain", "--recalibrate", model="plain")
    assert "no BatchNorm of this model runs in training mode" in capsys.readouterr().err
