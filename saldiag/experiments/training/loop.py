"""The training loop: epochs, checkpoints, early stopping, probes, and going on after a kill.

A resumed run equals an uninterrupted one bit for bit where TensorFlow's operations are
deterministic (``tf.config.experimental.enable_op_determinism``): a whole epoch depends on the
state at its start and on the epoch's own seed, and on nothing else. One exception: a model that
draws random numbers without a seed generator of its own (``keras.random.normal(shape)`` in a
``call``; Keras' layers all have one) continues a counter that is lost with the process.
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
from saldiag.experiments.training.checkpoints import Checkpoints, EpochLog, Progress
from saldiag.experiments.training.estimate import TrainingEstimate, batch_count
from saldiag.experiments.training.progress import TrainingProgress, learning_rate
from saldiag.experiments.training.resumed_probes import Watching
from saldiag.experiments.validation.callback import ValidationWatch
from saldiag.recipes.metrics import EvaluationOnly
from saldiag.recipes.training import TrainingData, dtype_policy, epoch_seed

Stopped = Literal["epochs", "early stopping", "non-finite", "interrupted"]

_STATUS: dict[Stopped, Status] = {
    "epochs": "finished",
    "early stopping": "finished",
    "non-finite": "failed",
    "interrupted": "interrupted",
}
_MAY_CHANGE = ("epochs", "patience")
"""What of a recipe may differ when a run is resumed: they only say when to end."""
_BEFORE = {"recalibrate": False}
"""What a run was trained with that is older than the setting."""


@dataclass(frozen=True)
class Outcome:
    """How a training run ended; ``message`` is one line for the user.

    ``best`` is the epoch of ``best_path``, the model with the lowest validation loss; both are
    None if no epoch had a finite one. ``missing`` tells why a measurement is not there.
    """

    stopped: Stopped
    message: str
    history: TrainingHistory
    best: EpochLog | None
    best_path: Path | None
    missing: dict[str, str] = field(default_factory=dict)

    @property
    def exit_code(self) -> int:
        """0 when the training came to its end, 2 when it was broken off."""
        return 0 if _STATUS[self.stopped] == "finished" else 2


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
) -> Outcome:
    """Train a new model by the recipe and keep everything in the run directory.

    At the end of every epoch are written, each whole or not at all and in this order: the
    measurements, ``checkpoints/best.keras`` (``best.weights.h5`` of a model that Keras cannot save
    whole) where the validation loss is the lowest so far, and
    ``checkpoints/state.npz``. A run that is killed loses at most the epoch it was in.

    Args:
        model_factory: builds the model, compiled unless the recipe does that; called under the
            recipe's dtype policy, after seeding.
        data: the batches; see ``training.training_data``.
        recipe: the numbers.
        run: where to write.
        probes: a preset's name or a schedule of steps for the gradient probe.
        resume: go on after the last whole epoch of ``run``, if there is one.
        console: where to show the progress; stderr if not given.
        validation: checks the validation at the end of an epoch, once the epoch is kept.
        notify: called with a line for the user that also belongs in ``run.json``; printed if not
            given.

    Raises:
        RunError: the run directory cannot be written, holds a training already (without
            ``resume``), or was made with another model or recipe.
        SaldiagError: there is not enough memory.
    """
    console = console or Console(stderr=True)
    schedule = _schedule(probes)
    recipe, note = recipe.resolved()
    if note:
        _say(console, note)
    keras.utils.set_random_seed(recipe.seed)
    with dtype_policy(recipe.precision):
        model = model_factory()
    metrics = recipe.compiled(model)
    model.optimizer.build(model.trainable_variables)
    checkpoints = Checkpoints(run)
    progress = _start(checkpoints, model, recipe, resume, console)
    _mark(run, recipe, "running")
    watching = Watching(run, schedule, progress.steps, data.steps)
    first = len(progress.logs)
    bar = TrainingProgress(console, recipe.epochs, data.steps, first=first)
    estimate = TrainingEstimate(
        notify or (lambda line: _say(console, line)), epochs=recipe.epochs, steps=data.steps,
        validation_batches=batch_count(data.validation), first=first,
    )  # fmt: skip
    training = _Training(model, data, recipe, run, checkpoints, progress, watching)
    callbacks = [EvaluationOnly(metrics), bar, estimate]
    if recipe.recalibrate:
        callbacks.append(Recalibration(data.train, data.steps, lambda line: _say(console, line)))
    outcome = training.run_to_its_end(callbacks, [validation] if validation is not None else [])
    if validation is not None:
        _note_kept(validation, outcome)
    for reason in outcome.missing.values():
        _say(console, f"the gradient probe gave up: {reason}")
    return outcome


def _note_kept(validation: ValidationWatch, outcome: Outcome) -> None:
    """What early stopping and the best checkpoint made of ``val_loss``."""
    kept = outcome.best.epoch + 1 if outcome.best is not None else None
    done = len(outcome.history.epochs)
    stopped = done if outcome.stopped == "early stopping" else None
    if kept is not None:
        name = "EarlyStopping" if stopped else "ModelCheckpoint"
        validation.acted(ActedCallback(name, "val_loss", stopped, kept))


def _schedule(probes: str | Schedule) -> Schedule:
    if not isinstance(probes, str):
        return probes
    if probes not in PRESETS:
        raise SaldiagError(f"no probe schedule is called {probes!r}: one of {', '.join(PRESETS)}")
    return PRESETS[probes]()


def _start(
    checkpoints: Checkpoints, model: Any, recipe: TrainingNumbers, resume: bool, console: Console
) -> Progress:
    """The progress to go on from; the model is put into its state."""
    if not resume:
        if checkpoints.state_path.exists():
            raise RunError(
                f"{checkpoints.state_path} holds a training already:"
                " choose another --out, or --resume to go on with it"
            )
        return Progress(asdict(recipe))

    def accept(found: Progress) -> None:
        for name, now in asdict(recipe).items():
            then = found.recipe.get(name, _BEFORE.get(name))
            if then != now and name not in _MAY_CHANGE:
                raise RunError(
                    f"{checkpoints.state_path}: was trained with {name}={then}, not {now}:"
                    " --resume needs the same settings"
                )

    progress = checkpoints.load_state(model, accept)
    if progress is None:
        _say(console, f"{checkpoints.state_path} is not there: training from the start")
        return Progress(asdict(recipe))
    _say(console, f"resumed after epoch {len(progress.logs)}")
    return replace(progress, recipe=asdict(recipe))


class _NonFiniteLossError(Exception):
    """The loss is nan or infinite; ``args`` are its value and the step in the epoch."""


@dataclass
class _Training:
    """One training run, from its first (or resumed) epoch to its end."""

    model: Any
    data: TrainingData
    recipe: TrainingNumbers
    run: Run
    checkpoints: Checkpoints
    progress: Progress
    watching: Watching

    def run_to_its_end(self, callbacks: list[Any], last: list[Any]) -> Outcome:
        """Train; what ends the training early becomes an outcome, what breaks it an error.

        The ``last`` callbacks come after an epoch is kept.
        """
        try:
            stopped, message = self._guarded(
                [self.watching.watch, *callbacks, _Epochs(self), *last]
            )
            self.watching.write()
        except BaseException as error:
            with suppress(RunError):  # the disk may be what failed
                _mark(
                    self.run,
                    self.recipe,
                    "interrupted" if caused_by_interrupt(error) else "failed",
                )
            raise
        missing = self.watching.missing()
        _mark(self.run, self.recipe, _STATUS[stopped], missing)
        best = self.progress.best
        best_path = self.checkpoints.best_path if best else None
        return Outcome(stopped, message, self.progress.history(), best, best_path, missing)

    def _guarded(self, callbacks: list[Any]) -> tuple[Stopped, str]:
        try:
            self._fit(callbacks)
        except BaseException as error:
            for callback in callbacks:  # Keras does not tell them where an exception ends ``fit``
                if isinstance(callback, ValidationWatch):
                    callback.close()  # without the last check, which takes seconds
                else:
                    callback.on_train_end()
            return self._ended_by(error)
        done = len(self.progress.logs)
        if done < self.recipe.epochs:
            return "early stopping", (
                f"stopped after {counted(done, 'epoch')}:"
                f" none of the last {self.recipe.patience} had a lower val_loss"
            )
        return "epochs", f"trained {counted(done, 'epoch')}"

    def _ended_by(self, error: BaseException) -> tuple[Stopped, str]:
        done = len(self.progress.logs)
        if take_interrupt(error):
            return (
                "interrupted",
                f"interrupted after {counted(done, 'whole epoch')}: --resume goes on",
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

    def _fit(self, callbacks: list[Any]) -> None:
        first = len(self.progress.logs)
        if first >= self.recipe.epochs or self.progress.exhausted(self.recipe.patience):
            return
        self.model.fit(
            self.data.train(first), validation_data=self.data.validation,
            steps_per_epoch=self.data.steps, initial_epoch=first, epochs=self.recipe.epochs,
            callbacks=callbacks, shuffle=False, verbose=0,
        )  # fmt: skip

    def keep(self, values: dict[str, float]) -> None:
        """Write what a whole epoch gave; its state last, which is what counts it as done."""
        progress = self.progress.after(self.data.steps, values)
        self.run.write_measurement(progress.history())
        self.watching.write()
        if progress.best is progress.logs[-1]:
            self.checkpoints.save_best(self.model)
        self.checkpoints.save_state(self.model, progress)
        self.progress = progress


class _Epochs(keras.callbacks.Callback):
    """What happens at the bounds of an epoch, and the watch over the loss within."""

    def __init__(self, training: _Training) -> None:
        super().__init__()
        self.training = training

    def on_epoch_begin(self, epoch: int, *_: Any) -> None:
        keras.utils.set_random_seed(epoch_seed(self.training.recipe.seed, epoch))

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        raise_pending()
        loss = (logs or {}).get("loss", 0.0)
        if not math.isfinite(loss):  # before a broken state is saved over the last good one
            raise _NonFiniteLossError(loss, batch + 1)

    def on_epoch_end(self, _: int, logs: dict[str, float] | None = None) -> None:
        values = {name: float(value) for name, value in (logs or {}).items()}
        self.training.keep({**values, "learning_rate": learning_rate(self.model)})
        if self.training.progress.exhausted(self.training.recipe.patience):
            self.model.stop_training = True


def _mark(
    run: Run, recipe: TrainingNumbers, status: Status, missing: dict[str, str] | None = None
) -> None:
    """Set the status in ``run.json``, which is made here if the caller has not."""
    if (run.path / "run.json").exists():
        info = run.read_info()
    else:
        versions = {"keras": keras.__version__, "tensorflow": tf.__version__}
        info = RunInfo(("train",), versions, recipe.seed, asdict(recipe), started=utc_now())
    run.write_info(replace(info, status=status, missing={**info.missing, **(missing or {})}))


def _say(console: Console, line: str) -> None:
    console.print(line, markup=False, highlight=False, soft_wrap=True)
