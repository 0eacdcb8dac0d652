"""The training loop on a model of a few layers: learning, stopping, probes, progress."""

import io
import re
import signal
from dataclasses import asdict, replace

import numpy as np
import pytest
from rich.console import Console

from saldiag.core.errors import DataError, SaldiagError
from saldiag.core.files.run import Run
from saldiag.core.measurement import GradientHistory, Histograms, TrainingHistory
from tests.support import models
from tests.support.training import (
    epochs_of,
    pictures,
    small_data,
    small_recipe,
    tiny_model,
    train,
    values,
)

pytestmark = pytest.mark.tensorflow


@pytest.mark.slow
def test_a_run_learns_and_leaves_everything_in_its_directory(tmp_path):
    import keras

    console = Console(file=io.StringIO(), width=80)
    outcome = train(tmp_path / "run", small_recipe(epochs=4), console=console)
    assert (outcome.stopped, outcome.exit_code) == ("epochs", 0)
    assert outcome.message == "trained 4 epochs"

    loss = values(outcome.history, "loss")
    assert loss[-1] < 0.8 * loss[0]
    assert np.isfinite(outcome.history.values).all()
    assert "weighted_f_beta" not in outcome.history.names
    assert "val_weighted_f_beta" in outcome.history.names
    # 3 steps an epoch on a triangle of half a cycle of 4 steps, from 0.01 to 0.02.
    assert values(outcome.history, "learning_rate") == pytest.approx([0.0175, 0.015, 0.0125, 0.02])

    run = Run.open(tmp_path / "run")
    assert run.read_info().status == "finished"
    measured = run.read_measurements()
    stored = measured.need(TrainingHistory)
    assert stored.names == outcome.history.names
    np.testing.assert_array_equal(stored.values, outcome.history.values)

    best = keras.models.load_model(outcome.best_path)
    validation = best.evaluate(*pictures(8, seed=1), verbose=0, return_dict=True)
    assert validation["loss"] == pytest.approx(outcome.best.values["val_loss"], rel=1e-5)
    assert outcome.best.values["val_loss"] == values(outcome.history, "val_loss").min()
    assert sorted(p.name for p in (run.path / "checkpoints").iterdir()) == [
        "best.keras", "state.npz",
    ]  # fmt: skip

    lines = console.file.getvalue().splitlines()
    assert [line.split("  ")[0] for line in lines] == [f"epoch {n}/4" for n in range(1, 5)]
    assert all(len(line) <= 80 and "val_loss" in line for line in lines)


@pytest.mark.slow
def test_a_resumed_run_continues_step_numbers_and_epoch_seeds(tmp_path, monkeypatch):
    from saldiag.experiments.training.progress import TrainingProgress
    from saldiag.recipes.training import epoch_seed

    drawn = []

    def draw(bar, batch, logs=None):
        if batch == 0:
            drawn.append(np.random.random())  # noqa: NPY002 - what unseeded user code draws from

    monkeypatch.setattr(TrainingProgress, "on_train_batch_end", draw)
    train(tmp_path / "run", small_recipe(epochs=2), probes="full")
    outcome = train(tmp_path / "run", small_recipe(epochs=3), probes="full", resume=True)
    assert values(outcome.history, "loss").shape == (3,)
    assert drawn == [np.random.RandomState(epoch_seed(0, epoch)).random() for epoch in range(3)]
    measured = Run.open(tmp_path / "run").read_measurements()
    gradients = measured.need(GradientHistory)
    assert gradients.steps.tolist() == list(range(9))
    assert gradients.norm.shape == (9, len(gradients.variables))
    assert (gradients.norm > 0).all()
    histograms = measured.need(Histograms)
    assert sorted(set(histograms.steps.tolist())) == [2, 5, 8]  # the last step of each epoch
    assert len(histograms.names) == len(histograms.counts) == len(histograms.steps)


@pytest.mark.slow
def test_ctrl_c_keeps_the_history_and_the_run_resumes(tmp_path, monkeypatch):
    from saldiag.experiments.training.progress import TrainingProgress

    def press(bar, batch, logs=None):
        if bar.epoch == 2 and batch == 1:
            signal.raise_signal(signal.SIGINT)

    with monkeypatch.context() as patch:
        patch.setattr(TrainingProgress, "on_train_batch_end", press)
        outcome = train(tmp_path / "run", probes="full")
    assert (outcome.stopped, outcome.exit_code) == ("interrupted", 2)
    assert "interrupted after 2 whole epochs" in outcome.message
    run = Run.open(tmp_path / "run")
    assert run.read_info().status == "interrupted"
    assert len(values(outcome.history, "loss")) == 2
    assert run.read_measurements().need(GradientHistory).steps.tolist() == list(range(8))
    again = train(tmp_path / "run", resume=True, probes="full")
    assert (again.stopped, len(again.history.epochs)) == ("epochs", 3)
    assert run.read_info().status == "finished"
    assert run.read_measurements().need(GradientHistory).steps.tolist() == list(range(9))


def test_a_failing_probe_is_reported_and_training_continues(tmp_path, monkeypatch):
    from saldiag_probes.training import gradient_norms

    def broken(*_):
        raise ZeroDivisionError("a bug in the probe")

    monkeypatch.setattr(gradient_norms.GradientNorms, "_before_apply", broken)
    console = Console(file=io.StringIO(), width=200)
    outcome = train(tmp_path / "run", small_recipe(epochs=1), console=console)
    assert outcome.stopped == "epochs"
    assert "a bug in the probe" in console.file.getvalue()
    assert "a bug in the probe" in outcome.missing["gradients"]
    measured = Run.open(tmp_path / "run").read_measurements()
    assert "a bug in the probe" in measured.reason(GradientHistory)


@pytest.mark.slow
def test_a_loss_that_is_not_finite_ends_the_run_before_it_is_saved(tmp_path):
    images, masks = pictures(8)

    def poison(epoch):
        # Not the images: on some processors oneDNN's convolution with ReLU turns NaN into zero.
        if epoch == 1:
            masks[-1] = np.nan

    data = replace(small_data(), train=epochs_of(images, masks, 4, poison), steps=2)
    outcome = train(tmp_path / "run", data=data)
    assert (outcome.stopped, outcome.exit_code) == ("non-finite", 2)
    assert re.search("the loss became nan in epoch 2, step [12]: try a lower", outcome.message)
    assert Run.open(tmp_path / "run").read_info().status == "failed"
    with np.load(tmp_path / "run" / "checkpoints" / "state.npz") as state:
        numbers = [state[name] for name in state.files if name != "progress"]
    assert all(np.isfinite(array).all() for array in numbers)


@pytest.mark.slow
def test_early_stopping_ends_the_run_and_a_resume_agrees(tmp_path):
    # Even a weight near zero stays the same float32: val_loss is bit for bit that of the start.
    recipe = small_recipe(epochs=9, patience=2, learning_rate=1e-30)
    outcome = train(tmp_path / "run", recipe, factory=lambda: frozen(tiny_model()))
    assert outcome.stopped == "early stopping"
    assert outcome.exit_code == 0
    assert len(outcome.history.epochs) == 3  # the best one and two without a better one
    assert outcome.best.epoch == 0
    again = train(tmp_path / "run", recipe, factory=lambda: frozen(tiny_model()), resume=True)
    assert (again.stopped, len(again.history.epochs)) == ("early stopping", 3)
    patient = replace(recipe, patience=3)
    more = train(tmp_path / "run", patient, factory=lambda: frozen(tiny_model()), resume=True)
    assert (more.stopped, len(more.history.epochs)) == ("early stopping", 4)


def frozen(model):
    """The model with nothing that training moves noticeably: BatchNorm in inference mode."""
    model.get_layer("norm").trainable = False
    return model


def test_resume_without_a_state_starts_over_and_keeps_run_json(tmp_path):
    from saldiag.core.files.run import RunInfo

    run = Run.create("train", tmp_path / "run")
    info = RunInfo(("saldiag", "train"), {"saldiag": "1"}, 7, {"a": 1}, started="now", notes=("x",))
    run.write_info(info)
    console = Console(file=io.StringIO())
    outcome = train(tmp_path / "run", small_recipe(epochs=1), resume=True, console=console)
    assert outcome.stopped == "epochs"
    assert "training from the start" in " ".join(console.file.getvalue().split())
    assert asdict(run.read_info()) == {**asdict(info), "status": "finished"}


@pytest.mark.slow
def test_too_little_memory_is_one_line(tmp_path):
    import keras

    class Hungry(keras.layers.Layer):
        def call(self, inputs):
            huge = keras.ops.exp(keras.ops.broadcast_to(keras.ops.mean(inputs), (2**24, 2**24)))
            return inputs + keras.ops.mean(huge)

    def hungry_model():
        model = tiny_model()
        return keras.Sequential([*model.layers[:-1], Hungry(), model.layers[-1]])

    with pytest.raises(SaldiagError, match="not enough memory for batches of 4 at 32x32"):
        train(tmp_path / "run", factory=hungry_model)
    assert Run.open(tmp_path / "run").read_info().status == "failed"


def test_a_picture_damaged_after_it_was_verified_is_named(tmp_path, monkeypatch):
    from saldiag.image_masks import pipeline
    from saldiag.image_masks.msra10k import open_dataset
    from saldiag.image_masks.sample import write_sample
    from saldiag.recipes.saliency_training import training_data

    monkeypatch.setattr(pipeline, "_fits_in_memory", lambda *_: False)  # decode in every epoch
    write_sample(tmp_path / "set", count=6, size=(40, 40))
    items = open_dataset(tmp_path / "set").items
    recipe = small_recipe(epochs=1)
    data = training_data(items, items, recipe)
    mask = tmp_path / "set" / "Imgs" / "sample-0003.png"
    mask.write_bytes(mask.read_bytes()[:-30])
    with pytest.raises(DataError, match=r"sample-0003\.png: damaged"):
        replace(data, train=lambda _: data.validation).first_batch()
    with pytest.raises(DataError, match=r"sample-0003\.png: damaged"):
        train(tmp_path / "run", recipe, data=data)


@pytest.mark.slow
def test_mixed_float16_trains_with_a_scaled_loss(tmp_path):
    import keras

    seen = []

    def factory():
        seen.append(keras.config.dtype_policy().name)
        return tiny_model()

    outcome = train(tmp_path / "run", small_recipe(epochs=1, precision="mixed_float16"), factory)
    assert seen == ["mixed_float16"]
    assert keras.config.dtype_policy().name == "float32"
    assert np.isfinite(values(outcome.history, "loss")).all()
    with np.load(tmp_path / "run" / "checkpoints" / "state.npz") as state:
        scales = [float(state[n]) for n in state.files if n.startswith("optimizer") and
                  state[n].shape == () and state[n].dtype == np.float32]  # fmt: skip
    assert any(scale >= 1024 for scale in scales)  # the loss scale is part of the state


def progress_of_two_epochs(console):

    from saldiag.experiments.training.progress import TrainingProgress
    from saldiag.recipes.training import compile_model

    model = models.dense(1, 1)
    compile_model(model, learning_rate=0.5)
    bar = TrainingProgress(console, epochs=50, steps=250)
    bar.set_model(model)
    bar.on_train_begin()
    bar.on_epoch_begin(11)
    bar.on_epoch_end(11, {"loss": 0.5, "val_loss": 0.25, "mae": 0.5})
    bar.on_epoch_begin(12)
    bar.on_train_batch_end(41, {"loss": 0.125})
    bar.on_train_end()
    return console.file.getvalue()


def test_a_terminal_shows_a_bar_with_step_loss_validation_and_rate():
    text = progress_of_two_epochs(Console(file=io.StringIO(), force_terminal=True, width=80))
    assert "first step" in text
    assert "13/50  step 42/250  loss 0.125  val_loss 0.25  lr 5.0e-01" in text
    assert "epoch 12/50  loss 0.5  val_loss 0.25" in text


def test_without_a_terminal_there_is_one_line_an_epoch_and_nothing_else():
    text = progress_of_two_epochs(Console(file=io.StringIO(), width=80))
    assert text == "epoch 12/50  loss 0.5  val_loss 0.25  0 s\n"


def test_an_unknown_preset_is_named(tmp_path):
    with pytest.raises(SaldiagError, match="unknown probe schedule 'cheap': choose one of economy"):
        train(tmp_path / "run", probes="cheap")
