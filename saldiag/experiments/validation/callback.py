"""Watches the validation of a training: the curves of ``fit``, and checks in both modes."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import keras
import numpy as np

from saldiag.core.errors import SaldiagError
from saldiag.core.measurement import ActedCallback, Measurement, TrainingHistory, ValidationCheck
from saldiag.experiments.overfit.mode_errors import Batch, ModeErrors, batch_size
from saldiag.experiments.validation.batch_tap import BatchTap, recut
from saldiag.experiments.validation.checks import Checks
from saldiag.keras_internals.compilation import compiled_loss
from saldiag.keras_internals.layers import flattened_layers
from saldiag.rules.verdicts.validation import does_not_follow

SHARE = 0.01
"""Share of the training's time that checks before the last may take."""
LAST_SECONDS = 2.0
"""Least time for the last check, which is made once."""
BETWEEN_TAPS = 2.0
"""Seconds of training from one buffering to the next, of a program that calls ``fit`` often."""

Subject = tuple[ModeErrors, Sequence[Batch]]


class ValidationWatch(keras.callbacks.Callback):
    """Put it last among the callbacks of ``fit``: it reads what the others left in the logs.

    Once validation has drawn its first batches, which are buffered on their way, errors are
    measured on them in both modes: when ``val_loss`` first stops following the loss, from then on
    at epochs 2, 4, 8, …, as far as these checks stay under 1 % of the training's time, and after
    the last epoch.
    The model, its optimizer and all random states are put back.

    Nothing that goes wrong here reaches the training: checks end, and ``failed`` holds the reason.

    Args:
        subject: returns what predicts and measures the error of the model, and batches that it
            trains on; None where there are none. Called once, after the first validation.
        on_check: called once, after the check at which validation first does not follow.
    """

    def __init__(
        self,
        subject: Callable[[], Subject | None],
        on_check: Callable[[ValidationCheck], None] | None = None,
    ) -> None:
        super().__init__()
        self._subject, self._on_check = subject, on_check
        self._tap = BatchTap()
        self._tapping = self._tapped = False
        self._tapped_at = -BETWEEN_TAPS
        self._errors: ModeErrors | None = None
        self._traced_for: tuple[Any, ...] = ()
        self._checks: Checks | None = None
        self._logs: list[dict[str, float]] = []
        self._fits: list[int] = []
        self._steps = 0
        self._elapsed = 0.0
        self._training_since: float | None = None
        self._symptom_checked = False
        self._last = 0
        self._spent = self._last_seconds = 0.0
        self._cost = float("nan")
        self.others: Sequence[Any] = ()
        """The other callbacks of ``fit``, as far as they are known."""
        self._best: dict[int, tuple[Any, int]] = {}
        self._acted: dict[int, ActedCallback] = {}
        self.failed = ""
        """Why there are no checks; empty while there are."""

    @property
    def validates(self) -> bool:
        """Whether an epoch had a ``val_loss``."""
        return any("val_loss" in logs for logs in self._logs)

    @property
    def reason(self) -> str:
        """Why there is no check."""
        if self.failed:
            return self.failed
        if not self.validates:
            return "the training does not validate"
        return "the training was too short to check its validation"

    def measurements(self) -> list[Measurement]:
        """The curves, if an epoch ended, and the checks, if there was one."""
        history = self._history()
        checks = self._checks
        check = None
        if checks is not None:
            check = checks.result(
                callbacks=tuple(self._acted.values()),
                validated=self._tap.items,
                seconds=self._spent,
                last_seconds=self._last_seconds,
                training_seconds=self._seconds(),
            )
        return [found for found in (history, check) if found is not None]

    def on_train_begin(self, logs: Any = None) -> None:  # noqa: ARG002 - Keras' signature
        """Begin the clock; each call of ``fit`` may validate on other items."""
        if self._seconds() - self._tapped_at >= BETWEEN_TAPS:
            self._tapped = False
        self._training_since = time.monotonic()
        self._fits.append(len(self._logs))

    def on_test_begin(self, logs: Any = None) -> None:  # noqa: ARG002 - as above
        """Buffer the first batches of the first validation."""
        if self._tapped or self._training_since is None:
            return
        self._tapped = self._tapping = True
        self._tapped_at = self._seconds()
        self._tap = BatchTap()
        self._guarded(lambda: self._tap.attach(self.model))

    def on_test_end(self, logs: Any = None) -> None:  # noqa: ARG002 - as above
        """Leave the model's test function."""
        if self._tapping:
            self._tapping = False
            self._tap.detach()
            self._checks = None

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Keep the epoch's logs, and check where it is due."""
        values = {name: _scalar(value) for name, value in (logs or {}).items()}
        self._logs.append({name: value for name, value in values.items() if value is not None})
        self._steps = self._steps_taken()
        for other in self.others:
            self._note_best(other)
        last = bool(self.model.stop_training) or epoch + 1 >= (self.params.get("epochs") or 0)
        self._guarded(lambda: self._check(epoch + 1, last=last))

    def on_train_end(self, logs: Any = None) -> None:  # noqa: ARG002 - as above
        """Make the last check, if a callback behind this one ended the training."""
        epochs = len(self._logs)
        if self._training_since is None:
            return
        if epochs > self._fits[-1] and self._last != epochs:
            self._guarded(lambda: self._check(epochs, last=True))
        self.close()

    def close(self) -> None:
        """Leave the model, stop the clock, and see which callbacks acted on validation.

        ``fit`` does not tell its callbacks of an exception: call this afterwards.
        """
        if self._training_since is None:
            return
        self._elapsed += time.monotonic() - self._training_since
        self._training_since = None
        self.on_test_end()
        with suppress(Exception):  # other people's callbacks
            self._note_callbacks()

    def acted(self, callback: ActedCallback) -> None:
        """Note what acted on a validation metric without being a callback of Keras."""
        self._acted[id(callback)] = callback

    def _check(self, epoch: int, *, last: bool) -> None:
        if self.failed or "val_loss" not in self._logs[-1]:
            return
        count = len(self._logs)
        if not (last or count % max(1, count // 20) == 0):
            return  # the curves of thousands of epochs are not read after each
        strays = does_not_follow(self._history())
        checks = self._checks
        if last:
            self._last = count
            if len(self._fits) < 2 or self._affordable(planned=False):
                self._last_check(epoch, searching=strays)
        elif strays and not self._symptom_checked:
            self._symptom_checked = self._early_check(epoch, strays)
        elif epoch & (epoch - 1) == 0 and checks is not None and self._affordable(planned=False):
            self._early_check(epoch, strays)

    def _early_check(self, epoch: int, strays: bool) -> bool:
        """Check one batch, if the time of the whole training allows for it."""
        if not self._affordable(planned=True) or (checks := self._made()) is None:
            return False
        self._timed(lambda: checks.check(epoch, self._steps))
        first = strays and not self._symptom_checked
        if first and self._on_check is not None and (found := checks.result()) is not None:
            self._on_check(found)
        return True

    def _last_check(self, epoch: int, *, searching: bool) -> None:
        checks = self._made()
        if checks is not None:
            seconds = max(LAST_SECONDS, SHARE * self._seconds())
            begun = time.monotonic()
            checks.check_thoroughly(epoch, self._steps, searching=searching, seconds=seconds)
            self._last_seconds += time.monotonic() - begun

    def _timed(self, check: Callable[[], None]) -> None:
        begun = time.monotonic()
        check()
        self._cost = time.monotonic() - begun
        self._spent += self._cost

    def _affordable(self, *, planned: bool) -> bool:
        """Whether another check stays within ``SHARE`` of the (planned) training's time."""
        seconds = self._seconds()
        done = max(1, len(self._logs) - (self._fits[-1] if self._fits else 0))
        cost = self._cost
        if not cost >= 0:  # four forward passes, a third of a step each, and a trace
            cost = 2 * 4 / 3 * seconds / max(1, self._steps)
        whole = seconds * max(1.0, (self.params.get("epochs") or done) / done)
        return self._spent + cost <= SHARE * (whole if planned else seconds)

    def _made(self) -> Checks | None:
        """The checks on the items that are buffered; None where there can be none."""
        if self._checks is None and not self.failed:
            subject = self._subject()
            if not self._tap.batches:
                self.failed = self._tap.skipped or "validation drew no batch that could be kept"
            elif subject is None or not subject[1]:
                self.failed = "no training batch is known to re-estimate statistics from"
            else:
                errors, training = subject
                validation = recut(self._tap.batches, batch_size(training[0]))
                self._checks = Checks(self._traced(errors), training, validation)
        return self._checks

    def _traced(self, errors: ModeErrors) -> ModeErrors:
        """``errors``, or new ones if the model was compiled or unfrozen since the trace."""
        model = errors.model
        state = (
            id(compiled_loss(model)),
            *(bool(layer.trainable) for layer in flattened_layers(model)),
        )
        if self._errors is None:
            self._errors = errors
        elif state != self._traced_for:
            self._errors = ModeErrors(model, errors.batches)
        self._traced_for = state
        return self._errors

    def _history(self) -> TrainingHistory | None:
        names = tuple(dict.fromkeys(name for logs in self._logs for name in logs))
        if not names:
            return None
        values = [[logs.get(name, float("nan")) for logs in self._logs] for name in names]
        return TrainingHistory(names, np.arange(1, len(self._logs) + 1), np.array(values))

    def _seconds(self) -> float:
        since = self._training_since
        return self._elapsed + (time.monotonic() - since if since is not None else 0.0)

    def _note_callbacks(self) -> None:
        for callback in self.others:
            _, kept = self._best.get(id(callback), (None, None))
            found = acted_callback(callback, kept)
            if found is not None:
                self._acted[id(callback)] = found

    def _note_best(self, callback: Any) -> None:
        """Remember after which epoch a callback found its metric the best so far."""
        best = getattr(callback, "best", None)
        if best is not None and self._best.get(id(callback), (None, 0))[0] != best:
            self._best[id(callback)] = (best, len(self._logs))

    def _steps_taken(self) -> int:
        try:
            return int(self.model.optimizer.iterations)
        except (AttributeError, TypeError, ValueError):  # a model with several optimizers
            return self._steps + int(self.params.get("steps") or 0)

    def _guarded(self, action: Callable[[], None]) -> None:
        try:
            action()
        except Exception as error:  # a probe must never break the training
            text = (str(error).strip() or type(error).__name__).splitlines()[0]
            self.failed = text if isinstance(error, SaldiagError) else f"a check failed: {text}"


def acted_callback(callback: Any, kept: int | None = None) -> ActedCallback | None:
    """What a callback did on a validation metric; None if nothing.

    ``kept`` is the epoch, from 1, at which its metric was the best.
    """
    monitor = str(getattr(callback, "monitor", ""))
    if not monitor.startswith("val_"):
        return None
    name = type(callback).__name__
    if isinstance(callback, keras.callbacks.EarlyStopping):
        stopped = callback.stopped_epoch + 1 if callback.stopped_epoch else None
        held = kept if callback.restore_best_weights else None
        return ActedCallback(name, monitor, stopped, held) if stopped or held else None
    if isinstance(callback, keras.callbacks.ModelCheckpoint) and callback.save_best_only:
        return ActedCallback(name, monitor, None, kept) if kept else None
    return None


def _scalar(value: Any) -> float | None:
    try:
        return float(value)
    except (TypeError, ValueError):
        return None
