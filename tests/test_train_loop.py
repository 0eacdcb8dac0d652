"""The training loop on a model of a few layers: checkpoints, resuming, stopping, errors."""

import io
import itertools
import json
import re
import resource
import shutil
import signal
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from saldiag.core.errors import RunError, SaldiagError
from saldiag.core.measurement import GradientHistory, Histograms, TrainingHistory
from saldiag.core.run import Run

pytestmark = pytest.mark.tensorflow

SIZE = 32
WORKER = Path(__file__).with_name("train_worker.py")


def tiny_model(bias=0.0):
    import keras
    from keras import layers

    return keras.Sequential(
        [
            keras.Input((SIZE, SIZE, 3)),
            layers.Conv2D(4, 3, padding="same", activation="relu", name="first"),
            layers.BatchNormalization(name="norm"),
            layers.Dropout(0.2, name="drop"),
            layers.Conv2D(
                1,
                3,
                padding="same",
                name="last",
                bias_initializer=keras.initializers.Constant(bias),
            ),
            layers.Activation("sigmoid", dtype="float32", name="head"),
        ],
        name="tiny",
    )


def pictures(count=12, seed=0):
    """Pictures whose bright squares are the mask: arrays (N, S, S, 3) and (N, S, S, 1)."""
    random = np.random.default_rng(seed)
    images = random.normal(size=(count, SIZE, SIZE, 3)).astype(np.float32)
    masks = np.zeros((count, SIZE, SIZE, 1), np.float32)
    for index in range(count):
        row, column = random.integers(0, SIZE - 10, 2)
        masks[index, row : row + 10, column : column + 10] = 1
    return images + 2 * masks, masks


def epochs_of(images, masks, batch_size, on_epoch=lambda epoch: None):
    """Batches without end from an epoch on, its order a function of its number.

    ``on_epoch`` is called when an epoch's first batch is made.
    """
    import tensorflow as tf

    def batches(first_epoch):
        def generate():
            for epoch in itertools.count(first_epoch):
                on_epoch(epoch)
                order = np.random.default_rng(epoch).permutation(len(images))
                for start in range(0, len(order), batch_size):
                    chosen = order[start : start + batch_size]
                    yield images[chosen], masks[chosen]

        return tf.data.Dataset.from_generator(
            generate,
            output_signature=(
                tf.TensorSpec((None, SIZE, SIZE, 3), tf.float32),
                tf.TensorSpec((None, SIZE, SIZE, 1), tf.float32),
            ),
        )

    return batches


def small_data(batch_size=4, on_epoch=lambda epoch: None):
    import tensorflow as tf

    from saldiag.quicksal.training import TrainingData

    validation = tf.data.Dataset.from_tensor_slices(pictures(8, seed=1)).batch(4)
    return TrainingData(epochs_of(*pictures(), batch_size, on_epoch), 12 // batch_size, validation)


def small_recipe(**changes):
    from saldiag.quicksal.training import Recipe

    numbers = {
        "epochs": 3, "batch_size": 4, "image_size": SIZE, "step_size": 4, "max_learning_rate": 0.02,
        "base_learning_rate": 0.01, "precision": "float32",
    }  # fmt: skip
    return Recipe(**{**numbers, **changes})


def train(out, recipe=None, factory=tiny_model, data=None, **options):
    """One training run on the tiny data, without a screen unless ``console`` is given."""
    from saldiag.experiments.train import run_training

    recipe = recipe or small_recipe()
    run = Run.create("train", out, resume=options.get("resume", False))
    options.setdefault("console", Console(file=io.StringIO()))
    return run_training(factory, data or small_data(recipe.batch_size), recipe, run, **options)


def values(history, name):
    return history.values[history.names.index(name)]


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
def test_a_resume_goes_on_with_the_probes_steps_and_the_epochs_own_seed(tmp_path, monkeypatch):
    from saldiag.experiments.progress import TrainingProgress
    from saldiag.quicksal.training import epoch_seed

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


def gradients_at(steps, value, dropped=0):
    """A gradient history of one variable; without a step the variable is not known yet."""
    from saldiag.core.measurement import VariableInfo

    steps = np.array(steps, np.int64)
    variables = (VariableInfo("a/kernel", "a", (2,), "float32"),) if steps.size else ()
    rows = np.full((len(steps), len(variables)), value)
    return GradientHistory(
        variables, steps, *[rows] * 7, *[np.full(len(steps), value)] * 2, dropped_steps=dropped
    )


def test_histories_are_joined_and_a_repeated_epoch_counts_once():
    from saldiag.experiments.watching import join_gradients

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
    from saldiag.experiments.watching import join_histograms

    def at(names, steps):
        return Histograms(
            tuple(names), np.array(steps), np.ones((len(steps), 3)), np.ones((len(steps), 4))
        )

    whole = join_histograms(at("abab", [1, 1, 3, 3]), at("ab", [1, 1]), 2)
    assert "".join(whole.names) == "abab"
    assert whole.steps.tolist() == [1, 1, 3, 3]
    assert whole.counts.shape == (4, 3)


def worker(out, *arguments, limit=None):
    """A run in a process of its own with deterministic operations; see train_worker.py."""

    def restrict():
        if limit:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    return subprocess.run(
        [sys.executable, str(WORKER), str(out), *arguments],
        capture_output=True, text=True, check=False, preexec_fn=restrict,
    )  # fmt: skip


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


@pytest.mark.slow
def test_ctrl_c_keeps_what_there_is_and_the_run_goes_on_from_there(tmp_path, monkeypatch):
    from saldiag.experiments.progress import TrainingProgress

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


def test_a_probe_that_fails_is_told_and_training_goes_on(tmp_path, monkeypatch):
    from saldiag_probes import gradients

    def broken(*_):
        raise ZeroDivisionError("a bug in the probe")

    monkeypatch.setattr(gradients.GradientNorms, "_before", broken)
    console = Console(file=io.StringIO(), width=200)
    outcome = train(tmp_path / "run", small_recipe(epochs=1), console=console)
    assert outcome.stopped == "epochs"
    assert "a bug in the probe" in console.file.getvalue()
    assert "a bug in the probe" in outcome.missing["gradients"]
    measured = Run.open(tmp_path / "run").read_measurements()
    assert "a bug in the probe" in measured.reason(GradientHistory)


def test_a_loss_that_is_not_finite_ends_the_run_before_it_is_saved(tmp_path):
    images, masks = pictures(8)

    def poison(epoch):
        if epoch == 1:
            images[-1] = np.nan

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
    # The rate is so small that float32 weights hardly move: val_loss follows the moving averages.
    recipe = small_recipe(epochs=9, patience=2, learning_rate=1e-9)
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


@given(st.lists(st.sampled_from([0.1, 0.2, 0.3]), min_size=1, max_size=12),
       st.integers(1, 4))  # fmt: skip
def test_patience_is_that_of_keras(losses, patience):
    import keras

    from saldiag.experiments.checkpoints import Progress

    stopper = keras.callbacks.EarlyStopping(monitor="val_loss", mode="min", patience=patience)
    stopper.set_model(keras.Sequential())
    stopper.model.stop_training = False
    stopper.on_train_begin()
    theirs = next(
        (n for n, loss in enumerate(losses) if stop_after(stopper, n, loss)), len(losses) - 1
    )
    progress, ours = Progress({}), len(losses) - 1
    for number, loss in enumerate(losses):
        progress = progress.after(1, {"val_loss": loss})
        if progress.exhausted(patience) and number > 0:  # Keras never stops at the first epoch
            ours = number
            break
    assert ours == theirs


def test_an_epoch_without_a_finite_val_loss_is_never_the_best_one():
    from saldiag.experiments.checkpoints import Progress

    progress = Progress({}).after(1, {"val_loss": float("nan")})
    assert progress.best is None  # Keras would keep it, and no later epoch could beat it
    progress = progress.after(1, {"val_loss": 0.5}).after(1, {"val_loss": float("nan")})
    assert progress.best.epoch == 1
    assert not progress.exhausted(2)
    assert progress.after(1, {"loss": 0.1}).exhausted(2)


def stop_after(stopper, number, loss):
    stopper.on_epoch_end(number, {"val_loss": loss})
    return stopper.model.stop_training


def test_resume_without_a_state_begins_anew_and_run_json_stays_the_callers(tmp_path):
    from saldiag.core.run import RunInfo

    run = Run.create("train", tmp_path / "run")
    info = RunInfo(("saldiag", "train"), {"saldiag": "1"}, 7, {"a": 1}, started="now", notes=("x",))
    run.write_info(info)
    console = Console(file=io.StringIO())
    outcome = train(tmp_path / "run", small_recipe(epochs=1), resume=True, console=console)
    assert outcome.stopped == "epochs"
    assert "training from the start" in " ".join(console.file.getvalue().split())
    assert asdict(run.read_info()) == {**asdict(info), "status": "finished"}


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
    with pytest.raises(RunError, match="holds a training already"):
        train(copied, small_recipe(epochs=1))
    assert (copied / "checkpoints" / "state.npz").read_bytes() == before


def wider_model():
    import keras

    return keras.Sequential(
        [keras.Input((SIZE, SIZE, 3)), keras.layers.Conv2D(1, 3, padding="same")], name="wider"
    )


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"recipe": {"batch_size": 2}}, "was trained with batch_size=4, not 2"),
        ({"recipe": {"seed": 5}}, "was trained with seed=0, not 5"),
        ({"factory": wider_model}, r"belongs to another model \(\d+ variables there, \d+ here\)"),
    ],
)
def test_resume_refuses_another_recipe_or_model(trained, changes, complaint):
    recipe = small_recipe(epochs=2, **changes.get("recipe", {}))
    before = (trained / "checkpoints" / "state.npz").read_bytes()
    with pytest.raises(RunError, match=complaint):
        train(trained, recipe, factory=changes.get("factory", tiny_model), resume=True)
    assert (trained / "checkpoints" / "state.npz").read_bytes() == before


def test_a_damaged_state_is_one_line(copied):
    state = copied / "checkpoints" / "state.npz"
    whole = state.read_bytes()
    for damaged in (whole[: len(whole) // 2], b"not an archive", b""):
        state.write_bytes(damaged)
        with pytest.raises(RunError, match=r"state.npz: cannot be read .* delete it") as caught:
            train(copied, small_recipe(epochs=2), resume=True)
        assert "\n" not in str(caught.value)


def test_a_checkpoint_of_another_shape_names_the_variable(tmp_path):
    import keras

    from saldiag.experiments.checkpoints import Checkpoints, Progress
    from saldiag.quicksal.training import compile_model

    def dense(units):
        model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(units, name="out")])
        compile_model(model)
        model.optimizer.build(model.trainable_variables)
        return model

    checkpoints = Checkpoints(Run.create("train", tmp_path / "run"))
    checkpoints.save_state(dense(4), Progress({}))
    with pytest.raises(RunError, match=r"out/kernel is \(3, 4\) there, \(3, 5\) here"):
        checkpoints.load_state(dense(5))


def test_bfloat16_variables_come_back_bit_for_bit(tmp_path):
    import keras

    from saldiag.experiments.checkpoints import Checkpoints, Progress
    from saldiag.quicksal.training import compile_model

    def dense():
        model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(4, dtype="bfloat16")])
        compile_model(model)
        model.optimizer.build(model.trainable_variables)
        return model

    one, two = dense(), dense()
    checkpoints = Checkpoints(Run.create("train", tmp_path / "run"))
    progress = Progress({"a": 1}).after(3, {"val_loss": float("nan")})
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
    import keras

    from saldiag.experiments.progress import TrainingProgress
    from saldiag.quicksal.training import compile_model

    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
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
    with pytest.raises(SaldiagError, match="no probe schedule is called 'cheap': one of economy"):
        train(tmp_path / "run", probes="cheap")
