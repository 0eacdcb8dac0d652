"""The training loop: epochs, checkpoints, early stopping, probes, and resuming after a kill.

A resumed run equals an uninterrupted one bit for bit where TensorFlow's operations are
deterministic (``tf.config.experimental.enable_op_determinism``): an epoch depends only on the
state at its start and on its own seed. One exception: a model that draws random numbers without a
seed generator (``keras.random.normal(shape)`` in a ``call``; all Keras layers have one) continues
a counter that is lost with the process.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import keras
import tensorflow as tf
from rich.console import Console

from saldiag.core.errors import RunError, SaldiagError
from saldiag.core.files.run import Run, RunInfo, Status, utc_now
from saldiag.core.interrupts import caused_by_interrupt, raise_pending, take_interrupt
from saldiag.core.measurement import ActedCallback, TrainingHistory
from saldiag.core.training.numbers import TrainingNumbers
from saldiag.core.training.schedule import PRESETS, Schedule
from saldiag.core.wording import counted
from saldiag.experiments.overfit.batch_statistics import Recalibration
from saldiag.experiments.training.checkpoints import Checkpoints, EpochLog, RunProgress
from saldiag.experiments.training.estimate import TrainingEstimate, batch_count
from saldiag.experiments.training.progress import TrainingProgress, learning_rate
from saldiag.experiments.training.resumed_probes import ResumedProbes
from saldiag.experiments.validation.callback import ValidationWatch
from saldiag.progress import print_line
from saldiag.recipes.metrics import EvaluationOnly
from saldiag.recipes.training import TrainingData, dtype_policy, epoch_seed

Stopped = Literal["epochs", "early stopping", "non-finite", "interrupted"]

_RUN_STATUS: dict[Stopped, Status] = {
    "epochs": "finished",
    "early stopping": "finished",
    "non-finite": "failed",
    "interrupted": "interrupted",
}
_CHANGEABLE_SETTINGS = ("epochs", "patience")
"""Fields of a recipe that may differ when a run is resumed: they only decide when it ends."""
_FORMER_SETTINGS = {"recalibrate": False}
"""Values of fields that runs of older versions lack."""


@dataclass(frozen=True)
class TrainingOutcome:
    """How a training run ended."""

    stopped: Stopped
    """Why it ended."""
    message: str
    """One line for the user."""
    history: TrainingHistory
    """Loss and metrics of every whole epoch."""
    best: EpochLog | None
    """The epoch with the lowest validation loss; None if no epoch had a finite one."""
    best_path: Path | None
    """The file with the model of that epoch; None if there is none."""
    missing: dict[str, str] = field(default_factory=dict)
    """Why a measurement is missing, by its key."""

    @property
    def exit_code(self) -> int:
        """0 if the training reached its end, 2 if it was broken off."""
        return 0 if _RUN_STATUS[self.stopped] == "finished" else 2


def run_training(
    model_factory: Callable[[], Any],
    data: TrainingData,
    recipe: TrainingNumbers,
    run: Run,
    *,
    probes: str | Schedule = "economy",
    resume: bool = False,
    console: Console | None = None,
    validation: ValidationWatch | None = None,
    notify: Callable[[str], None] | None = None,
) -> TrainingOutcome:
    """Train a new model by the recipe and write everything to the run directory.

    At the end of every epoch these are written atomically, in this order: the measurements,
    ``checkpoints/best.keras`` (``best.weights.h5`` for a model that Keras cannot save) if the
    validation loss is the lowest so far, and ``checkpoints/state.npz``. A run that is killed loses
    at most its current epoch.

    Args:
        model_factory: builds the model, compiled unless the recipe compiles it; called under the
            recipe's dtype policy, after seeding.
        data: the batches.
        recipe: epochs, batch size, seed, and how to compile.
        run: the run directory to write to.
        probes: name of a preset, or a schedule of steps, for the gradient probe.
        resume: continue after the last whole epoch of ``run``, if there is one.
        console: where progress is shown; stderr if None.
        validation: checks the validation at the end of an epoch, after the epoch is written.
        notify: called with a line for the user that belongs in ``run.json`` as well; None prints
            it.

    Raises:
        RunError: the run directory cannot be written, already holds a training (without
            ``resume``), or was written with another model or recipe.
        SaldiagError: there is not enough memory, or ``probes`` is unknown.
        DataError: a file cannot be read while training.
    """
    console = console or Console(stderr=True)
    schedule = _resolve_schedule(probes)
    recipe, note = recipe.resolved()
    if note:
        print_line(console, note)
    keras.utils.set_random_seed(recipe.seed)
    with dtype_policy(recipe.precision):
        model = model_factory()
    metrics = recipe.compiled(model)
    model.optimizer.build(model.trainable_variables)
    checkpoints = Checkpoints(run)
    progress = _initial_progress(checkpoints, model, recipe, resume, console)
    _write_status(run, recipe, "running")
    gradient_probes = ResumedProbes(run, schedule, progress.steps, data.steps)
    first = len(progress.logs)
    bar = TrainingProgress(console, recipe.epochs, data.steps, first=first)
    estimate = TrainingEstimate(
        notify or (lambda line: print_line(console, line)), epochs=recipe.epochs, steps=data.steps,
        validation_batches=batch_count(data.validation), first=first,
    )  # fmt: skip
    training = _TrainingRun(model, data, recipe, run, checkpoints, progress, gradient_probes)
    callbacks = [EvaluationOnly(metrics), bar, estimate]
    if recipe.recalibrate:
        callbacks.append(
            Recalibration(data.train, data.steps, lambda line: print_line(console, line))
        )
    outcome = training.run_to_end(callbacks, [validation] if validation is not None else [])
    if validation is not None:
        _note_acted_callback(validation, outcome)
    for reason in outcome.missing.values():
        print_line(console, f"gradients are missing: {reason}")
    return outcome


def _note_acted_callback(validation: ValidationWatch, outcome: TrainingOutcome) -> None:
    """Tell the validation checks which epoch early stopping or the best checkpoint chose."""
    kept = outcome.best.epoch + 1 if outcome.best is not None else None
    done = len(outcome.history.epochs)
    stopped = done if outcome.stopped == "early stopping" else None
    if kept is not None:
        name = "EarlyStopping" if stopped else "ModelCheckpoint"
        validation.note_acted(ActedCallback(name, "val_loss", stopped, kept))


def _resolve_schedule(probes: str | Schedule) -> Schedule:
    if not isinstance(probes, str):
        return probes
    if probes not in PRESETS:
        raise SaldiagError(f"unknown probe schedule {probes!r}: choose one of {', '.join(PRESETS)}")
    return PRESETS[probes]()


def _initial_progress(
    checkpoints: Checkpoints, model: Any, recipe: TrainingNumbers, resume: bool, console: Console
) -> RunProgress:
    """The progress to continue from; the model and its optimizer are restored to it."""
    if not resume:
        if checkpoints.state_path.exists():
            raise RunError(
                f"{checkpoints.state_path} already holds a training:"
                " choose another --out, or continue it with --resume"
            )
        return RunProgress(asdict(recipe))

    def refuse_changed_recipe(found: RunProgress) -> None:
        for name, now in asdict(recipe).items():
            then = found.recipe.get(name, _FORMER_SETTINGS.get(name))
            if then != now and name not in _CHANGEABLE_SETTINGS:
                raise RunError(
                    f"{checkpoints.state_path}: was trained with {name}={then}, not {now}:"
                    " --resume needs the same settings"
                )

    progress = checkpoints.load_state(model, refuse_changed_recipe)
    if progress is None:
        print_line(console, f"{checkpoints.state_path} does not exist: training from the start")
        return RunProgress(asdict(recipe))
    print_line(console, f"resumed after epoch {len(progress.logs)}")
    return replace(progress, recipe=asdict(recipe))


class _NonFiniteLossError(Exception):
    """The loss is NaN or infinite; ``args`` are its value and the step in the epoch, from 1."""


@dataclass
class _TrainingRun:
    """One training run, from its first (or resumed) epoch to its end."""

    model: Any
    """The compiled model, in the state to continue from."""
    data: TrainingData
    """The batches."""
    recipe: TrainingNumbers
    """The numbers, with a definite precision."""
    run: Run
    """The run directory."""
    checkpoints: Checkpoints
    """The run's checkpoints."""
    progress: RunProgress
    """The whole epochs so far; replaced after each epoch."""
    gradient_probes: ResumedProbes
    """The gradient probe."""

    def run_to_end(self, callbacks: list[Any], last: list[Any]) -> TrainingOutcome:
        """Train; an early end is an outcome, a failure is raised.

        Args:
            callbacks: run before an epoch is saved.
            last: run after it was saved.
        """
        try:
            stopped, message = self._fit_until_stopped(
                [self.gradient_probes.watch, *callbacks, _EpochCallback(self), *last]
            )
            self.gradient_probes.write_measurements()
        except BaseException as error:
            with suppress(RunError):  # the disk may be what failed
                _write_status(
                    self.run,
                    self.recipe,
                    "interrupted" if caused_by_interrupt(error) else "failed",
                )
            raise
        missing = self.gradient_probes.missing()
        _write_status(self.run, self.recipe, _RUN_STATUS[stopped], missing)
        best = self.progress.best
        best_path = self.checkpoints.best_path if best else None
        return TrainingOutcome(stopped, message, self.progress.history(), best, best_path, missing)

    def _fit_until_stopped(self, callbacks: list[Any]) -> tuple[Stopped, str]:
        """Why ``fit`` ended, and the line for the user."""
        try:
            self._fit_model(callbacks)
        except BaseException as error:
            for callback in callbacks:  # Keras skips on_train_end if an exception ends ``fit``
                if isinstance(callback, ValidationWatch):
                    callback.close()  # on_train_end would run a last check, which takes seconds
                else:
                    callback.on_train_end()
            return self._outcome_of_error(error)
        done = len(self.progress.logs)
        if done < self.recipe.epochs:
            return "early stopping", (
                f"stopped after {counted(done, 'epoch')}:"
                f" none of the last {self.recipe.patience} lowered val_loss"
            )
        return "epochs", f"trained {counted(done, 'epoch')}"

    def _outcome_of_error(self, error: BaseException) -> tuple[Stopped, str]:
        """The end and the line for an error that is an outcome; raises what is none."""
        done = len(self.progress.logs)
        if take_interrupt(error):
            return (
                "interrupted",
                f"interrupted after {counted(done, 'whole epoch')}: --resume continues",
            )
        if isinstance(error, _NonFiniteLossError):
            loss, step = error.args
            return "non-finite", (
                f"the loss became {loss} in epoch {done + 1}, step {step}:"
                " try a lower learning rate, or --precision float32"
            )
        if isinstance(error, tf.errors.ResourceExhaustedError):
            raise SaldiagError(self.recipe.too_large) from error
        if isinstance(error, tf.errors.OpError) and (damage := self.data.damage()):
            raise damage from error
        raise error

    def _fit_model(self, callbacks: list[Any]) -> None:
        first = len(self.progress.logs)
        if first >= self.recipe.epochs or self.progress.patience_exhausted(self.recipe.patience):
            return
        self.model.fit(
            self.data.train(first), validation_data=self.data.validation,
            steps_per_epoch=self.data.steps, initial_epoch=first, epochs=self.recipe.epochs,
            callbacks=callbacks, shuffle=False, verbose=0,
        )  # fmt: skip

    def save_epoch(self, values: dict[str, float]) -> None:
        """Write the results of a whole epoch; the state comes last and makes the epoch count."""
        progress = self.progress.after_epoch(self.data.steps, values)
        self.run.write_measurement(progress.history())
        self.gradient_probes.write_measurements()
        if progress.best is progress.logs[-1]:
            self.checkpoints.save_best(self.model)
        self.checkpoints.save_state(self.model, progress)
        self.progress = progress


class _EpochCallback(keras.callbacks.Callback):
    """Seeds and saves each epoch, and stops on a non-finite loss, Ctrl-C or spent patience."""

    def __init__(self, training: _TrainingRun) -> None:
        super().__init__()
        self.training = training

    def on_epoch_begin(self, epoch: int, *_: Any) -> None:
        keras.utils.set_random_seed(epoch_seed(self.training.recipe.seed, epoch))

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        raise_pending()
        loss = (logs or {}).get("loss", 0.0)
        if not math.isfinite(loss):  # before a broken state overwrites the last good one
            raise _NonFiniteLossError(loss, batch + 1)

    def on_epoch_end(self, _: int, logs: dict[str, float] | None = None) -> None:
        values = {name: float(value) for name, value in (logs or {}).items()}
        self.training.save_epoch({**values, "learning_rate": learning_rate(self.model)})
        if self.training.progress.patience_exhausted(self.training.recipe.patience):
            self.model.stop_training = True


def _write_status(
    run: Run, recipe: TrainingNumbers, status: Status, missing: dict[str, str] | None = None
) -> None:
    """Set the status in ``run.json``, which is written here if it does not exist."""
    if (run.path / "run.json").exists():
        info = run.read_info()
    else:
        versions = {"keras": keras.__version__, "tensorflow": tf.__version__}
        info = RunInfo(("train",), versions, recipe.seed, asdict(recipe), started=utc_now())
    run.write_info(replace(info, status=status, missing={**info.missing, **(missing or {})}))
