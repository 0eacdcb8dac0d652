"""What a training run keeps: going on after a kill, patience, damaged and unwritable files."""

import json
import shutil

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from saldiag.core.errors import RunError
from saldiag.core.files.run import Run
from saldiag.core.measurement import Histograms
from tests.support import models
from tests.support.training import (
    SIZE,
    gradients_at,
    small_recipe,
    tiny_model,
    train,
    worker,
)

pytestmark = pytest.mark.tensorflow


def test_histories_are_joined_and_a_repeated_epoch_counts_once():
    from saldiag.experiments.training.resumed_probes import join_gradients

    whole = join_gradients(gradients_at([0, 2, 3, 4], 1.0, 1), gradients_at([0, 1], 2.0, 2), 3)
    assert whole.steps.tolist() == [0, 2, 3, 4]
    assert whole.norm.tolist() == [[1.0], [1.0], [2.0], [2.0]]
    assert whole.loss.tolist() == [1.0, 1.0, 2.0, 2.0]
    assert whole.dropped_steps == 3
    unchanged = join_gradients(gradients_at([0, 2, 4], 1.0), gradients_at([], 2.0), 5)
    assert unchanged.steps.tolist() == [0, 2, 4]
    assert unchanged.norm.shape == (3, 1)
    assert [info.path for info in unchanged.variables] == ["a/kernel"]
    assert join_gradients(None, gradients_at([0, 1], 2.0), 7).steps.tolist() == [7, 8]


def test_histograms_are_joined_with_their_names():
    from saldiag.experiments.training.resumed_probes import join_histograms

    def at(names, steps):
        return Histograms(
            tuple(names), np.array(steps), np.ones((len(steps), 3)), np.ones((len(steps), 4))
        )

    whole = join_histograms(at("abab", [1, 1, 3, 3]), at("ab", [1, 1]), 2)
    assert "".join(whole.names) == "abab"
    assert whole.steps.tolist() == [1, 1, 3, 3]
    assert whole.counts.shape == (4, 3)


@pytest.mark.slow
def test_a_run_killed_in_an_epoch_and_resumed_equals_an_uninterrupted_one(tmp_path):
    whole = worker(tmp_path / "whole")
    assert whole.returncode == 0, whole.stderr
    killed = worker(tmp_path / "killed", "--kill-at-step", "7")
    assert killed.returncode == -9, killed.stderr
    assert Run.open(tmp_path / "killed").read_info().status == "running"
    resumed = worker(tmp_path / "killed", "--resume")
    assert resumed.returncode == 0, resumed.stderr
    assert "resumed after epoch 2" in resumed.stdout

    for name in (
        "checkpoints/state.npz",
        "measurements/training.npz",
        "measurements/gradients.npz",
    ):
        with np.load(tmp_path / "whole" / name) as one, np.load(tmp_path / "killed" / name) as two:
            assert one.files == two.files
            for key in one.files:
                np.testing.assert_array_equal(one[key], two[key], err_msg=f"{name} {key}")
    assert json.loads(resumed.stdout.splitlines()[-1]) == json.loads(whole.stdout.splitlines()[-1])


@pytest.mark.slow
def test_a_full_disk_is_one_line_and_keeps_the_last_good_files(tmp_path):
    first = worker(tmp_path / "run", "--epochs", "1")
    assert first.returncode == 0, first.stderr
    before = {p.name: p.read_bytes() for p in (tmp_path / "run" / "checkpoints").iterdir()}
    full = worker(tmp_path / "run", "--epochs", "2", "--resume", limit=len(before["state.npz"]) - 1)
    assert full.returncode == 2, full.stdout
    line = full.stderr.splitlines()[-1]
    assert "cannot be written (File too large)" in line
    assert "choose another --out" in line
    after = {p.name: p.read_bytes() for p in (tmp_path / "run" / "checkpoints").iterdir()}
    assert after == before  # nothing lost, and no half-written file beside them


@given(st.lists(st.sampled_from([0.1, 0.2, 0.3]), min_size=1, max_size=12),
       st.integers(1, 4))  # fmt: skip
def test_patience_is_that_of_keras(losses, patience):
    import keras

    from saldiag.experiments.training.checkpoints import RunProgress

    stopper = keras.callbacks.EarlyStopping(monitor="val_loss", mode="min", patience=patience)
    stopper.set_model(keras.Sequential())
    stopper.model.stop_training = False
    stopper.on_train_begin()
    theirs = next(
        (n for n, loss in enumerate(losses) if stop_after(stopper, n, loss)), len(losses) - 1
    )
    progress, ours = RunProgress({}), len(losses) - 1
    for number, loss in enumerate(losses):
        progress = progress.after_epoch(1, {"val_loss": loss})
        if (
            progress.patience_exhausted(patience) and number > 0
        ):  # Keras never stops at the first epoch
            ours = number
            break
    assert ours == theirs


def test_an_epoch_without_a_finite_val_loss_is_never_the_best_one():
    from saldiag.experiments.training.checkpoints import RunProgress

    progress = RunProgress({}).after_epoch(1, {"val_loss": float("nan")})
    assert progress.best is None  # Keras would keep it, and no later epoch could beat it
    progress = progress.after_epoch(1, {"val_loss": 0.5}).after_epoch(1, {"val_loss": float("nan")})
    assert progress.best.epoch == 1
    assert not progress.patience_exhausted(2)
    assert progress.after_epoch(1, {"loss": 0.1}).patience_exhausted(2)


def stop_after(stopper, number, loss):
    stopper.on_epoch_end(number, {"val_loss": loss})
    return stopper.model.stop_training


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    out = tmp_path_factory.mktemp("trained") / "run"
    train(out, small_recipe(epochs=1))
    return out


@pytest.fixture
def copied(trained, tmp_path):
    """The trained run, to be damaged."""
    return shutil.copytree(trained, tmp_path / "run")


def test_a_run_is_not_overwritten_without_resume(copied):
    (copied / "run.json").unlink()
    before = (copied / "checkpoints" / "state.npz").read_bytes()
    with pytest.raises(RunError, match="already contains a training"):
        train(copied, small_recipe(epochs=1))
    assert (copied / "checkpoints" / "state.npz").read_bytes() == before


def wider_model():
    import keras

    return models.sequential(
        (SIZE, SIZE, 3), keras.layers.Conv2D(1, 3, padding="same"), name="wider"
    )


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"recipe": {"batch_size": 2}}, "was trained with batch_size=4, not 2"),
        ({"recipe": {"seed": 5}}, "was trained with seed=0, not 5"),
        (
            {"factory": wider_model},
            r"belongs to another model: it holds \d+ variables, this model has \d+",
        ),
    ],
)
def test_resume_refuses_another_recipe_or_model(trained, changes, complaint):
    recipe = small_recipe(epochs=2, **changes.get("recipe", {}))
    before = (trained / "checkpoints" / "state.npz").read_bytes()
    with pytest.raises(RunError, match=complaint):
        train(trained, recipe, factory=changes.get("factory", tiny_model), resume=True)
    assert (trained / "checkpoints" / "state.npz").read_bytes() == before


@pytest.mark.slow
def test_a_damaged_state_is_one_line(copied):
    state = copied / "checkpoints" / "state.npz"
    whole = state.read_bytes()
    for damaged in (whole[: len(whole) // 2], b"not an archive", b""):
        state.write_bytes(damaged)
        with pytest.raises(RunError, match=r"state.npz: cannot be read .* delete it") as caught:
            train(copied, small_recipe(epochs=2), resume=True)
        assert "\n" not in str(caught.value)


def test_a_checkpoint_of_another_shape_names_the_variable(tmp_path):

    from saldiag.experiments.training.checkpoints import Checkpoints, RunProgress
    from saldiag.recipes.training import compile_model

    def dense(units):
        model = models.dense(3, units, name="out")
        compile_model(model)
        model.optimizer.build(model.trainable_variables)
        return model

    checkpoints = Checkpoints(Run.create("train", tmp_path / "run"))
    checkpoints.save_state(dense(4), RunProgress({}))
    with pytest.raises(RunError, match=r"out/kernel has shape \(3, 4\) in it, \(3, 5\) in this"):
        checkpoints.load_state(dense(5))


def test_bfloat16_variables_come_back_bit_for_bit(tmp_path):
    import keras

    from saldiag.experiments.training.checkpoints import Checkpoints, RunProgress
    from saldiag.recipes.training import compile_model

    def dense():
        model = models.dense(3, 4, dtype="bfloat16")
        compile_model(model)
        model.optimizer.build(model.trainable_variables)
        return model

    one, two = dense(), dense()
    checkpoints = Checkpoints(Run.create("train", tmp_path / "run"))
    progress = RunProgress({"a": 1}).after_epoch(3, {"val_loss": float("nan")})
    checkpoints.save_state(one, progress)
    stored = checkpoints.load_state(two)
    assert stored.steps == 3
    assert np.isnan(stored.logs[0].values["val_loss"])
    for ours, theirs in zip(one.variables, two.variables, strict=True):
        np.testing.assert_array_equal(
            keras.ops.convert_to_numpy(ours).view(np.uint16),
            keras.ops.convert_to_numpy(theirs).view(np.uint16),
        )


def test_an_unwritable_checkpoint_is_one_line_and_marks_the_run_failed(tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    (run / "checkpoints").write_text("a file is in the way")
    with pytest.raises(RunError, match=r"best.keras: cannot be written") as caught:
        train(run)
    assert "\n" not in str(caught.value)
    assert Run.open(run).read_info().status == "failed"
    assert (run / "checkpoints").read_text() == "a file is in the way"
