"""The callback that checks validation: the curves of ``fit``, and errors in both modes."""

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
from saldiag.experiments.validation.checks import ValidationChecks
from saldiag.experiments.validation.item_batches import MAX_ITEMS, has_only_tensors, rebatch_items
from saldiag.keras_internals.compilation import compiled_loss
from saldiag.keras_internals.layers import flattened_layers
from saldiag.rules.verdicts.validation import does_not_follow
from saldiag_probes.hooks.batch_tap import BatchTap

MAX_TIME_SHARE = 0.01
"""Share of the training's time that all checks before the last may take."""
MIN_LAST_CHECK_SECONDS = 2.0
"""Seconds that the last check may always take; it runs once."""
MIN_SECONDS_BETWEEN_TAPS = 2.0
"""Seconds of training between two bufferings, for programs that call ``fit`` often."""

CheckSubject = tuple[ModeErrors, Sequence[Batch]]
"""Measures the model's errors, and batches that the model trains on."""


class ValidationWatch(keras.callbacks.Callback):
    """Checks the validation of ``fit``; put it last among the callbacks, to see their logs.

    The first batches that validation draws are buffered. Errors are measured on them in both modes
    when ``val_loss`` first stops following the loss, from then on at epochs 2, 4, 8, … while these
    checks stay under 1 % of the training's time, and after the last epoch. Each check restores the
    model, its optimizer and all random states.

    An error in here never reaches the training: it ends the checks, and ``failed`` holds the
    reason.

    Args:
        subject: returns the ``ModeErrors`` of the model and batches that it trains on, or None if
            there are none. Called once, after the first validation.
        on_check: called once, after the check at which validation first stops following.
    """

    def __init__(
        self,
        subject: Callable[[], CheckSubject | None],
        on_check: Callable[[ValidationCheck], None] | None = None,
    ) -> None:
        super().__init__()
        self._subject, self._on_check = subject, on_check
        self._tap = _new_tap()
        self._tapping = self._tapped = False
        self._tapped_at = -MIN_SECONDS_BETWEEN_TAPS
        self._errors: ModeErrors | None = None
        self._traced_for: tuple[Any, ...] = ()
        self._checks: ValidationChecks | None = None
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
        """The other callbacks of ``fit`` that are known; assigned from outside."""
        self._best: dict[int, tuple[Any, int]] = {}
        self._acted: dict[int, ActedCallback] = {}
        self.failed = ""
        """Why the checks ended early; empty if they did not."""

    @property
    def batches(self) -> Sequence[Batch]:
        """The first validation batches, as the model got them; empty before any validation."""
        return self._tap.batches

    @property
    def has_val_loss(self) -> bool:
        """Whether any epoch had a ``val_loss``."""
        return any("val_loss" in logs for logs in self._logs)

    @property
    def reason(self) -> str:
        """Why there is no check, if there is none."""
        if self.failed:
            return self.failed
        if not self.has_val_loss:
            return "the training runs no validation"
        return "the training was too short to check its validation"

    def measurements(self) -> list[Measurement]:
        """The curves if an epoch ended, and the checks if there was one."""
        history = self._make_history()
        checks = self._checks
        check = None
        if checks is not None:
            check = checks.to_measurement(
                callbacks=tuple(self._acted.values()),
                validated=self._tap.items,
                seconds=self._spent,
                last_seconds=self._last_seconds,
                training_seconds=self._training_seconds(),
            )
        return [measurement for measurement in (history, check) if measurement is not None]

    def on_train_begin(self, logs: Any = None) -> None:  # noqa: ARG002 - Keras' signature
        """Start the clock; each call of ``fit`` may validate on other items."""
        if self._training_seconds() - self._tapped_at >= MIN_SECONDS_BETWEEN_TAPS:
            self._tapped = False
        self._training_since = time.monotonic()
        self._fits.append(len(self._logs))

    def on_test_begin(self, logs: Any = None) -> None:  # noqa: ARG002 - as above
        """Buffer the first batches of the first validation."""
        if self._tapped or self._training_since is None:
            return
        self._tapped = self._tapping = True
        self._tapped_at = self._training_seconds()
        self._tap = _new_tap()
        self._run_guarded(lambda: self._tap.attach(self.model))

    def on_test_end(self, logs: Any = None) -> None:  # noqa: ARG002 - as above
        """Restore the model's test function."""
        if self._tapping:
            self._tapping = False
            self._tap.detach()
            self._checks = None

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Record the epoch's logs, and check if a check is due."""
        values = {name: _as_scalar(value) for name, value in (logs or {}).items()}
        self._logs.append({name: value for name, value in values.items() if value is not None})
        self._steps = self._steps_taken()
        for other in self.others:
            self._note_best(other)
        last = bool(self.model.stop_training) or epoch + 1 >= (self.params.get("epochs") or 0)
        self._run_guarded(lambda: self._check_if_due(epoch + 1, last=last))

    def on_train_end(self, logs: Any = None) -> None:  # noqa: ARG002 - as above
        """Run the last check if a callback after this one ended the training."""
        epochs = len(self._logs)
        if self._training_since is None:
            return
        if epochs > self._fits[-1] and self._last != epochs:
            self._run_guarded(lambda: self._check_if_due(epochs, last=True))
        self.close()

    def close(self) -> None:
        """Restore the model, stop the clock, and note which callbacks acted on validation.

        Call this after an exception in ``fit``, which then skips ``on_train_end``.
        """
        if self._training_since is None:
            return
        self._elapsed += time.monotonic() - self._training_since
        self._training_since = None
        self.on_test_end()
        with suppress(Exception):  # other people's callbacks
            self._note_callbacks()

    def note_acted(self, callback: ActedCallback) -> None:
        """Record something that acted on a validation metric without being a Keras callback."""
        self._acted[id(callback)] = callback

    def _check_if_due(self, epoch: int, *, last: bool) -> None:
        """Check after an epoch (from 1) if it is the last one, a symptom shows, or it is due."""
        if self.failed or "val_loss" not in self._logs[-1]:
            return
        count = len(self._logs)
        if not (last or count % max(1, count // 20) == 0):
            return  # analysing the curves of thousands of epochs after each one would be slow
        does_stray = does_not_follow(self._make_history())
        checks = self._checks
        if last:
            self._last = count
            if len(self._fits) < 2 or self._is_affordable(planned=False):
                self._last_check(epoch, searching=does_stray)
        elif does_stray and not self._symptom_checked:
            self._symptom_checked = self._early_check(epoch, does_stray)
        elif epoch & (epoch - 1) == 0 and checks is not None and self._is_affordable(planned=False):
            self._early_check(epoch, does_stray)

    def _early_check(self, epoch: int, does_stray: bool) -> bool:
        """Check one batch if the time of the whole training allows it; returns whether it did."""
        if not self._is_affordable(planned=True) or (checks := self._make_checks()) is None:
            return False
        self._run_timed(lambda: checks.check_briefly(epoch, self._steps))
        first = does_stray and not self._symptom_checked
        if first and self._on_check is not None and (found := checks.to_measurement()) is not None:
            self._on_check(found)
        return True

    def _last_check(self, epoch: int, *, searching: bool) -> None:
        checks = self._make_checks()
        if checks is not None:
            seconds = max(MIN_LAST_CHECK_SECONDS, MAX_TIME_SHARE * self._training_seconds())
            begun = time.monotonic()
            checks.check_thoroughly(epoch, self._steps, searching=searching, seconds=seconds)
            self._last_seconds += time.monotonic() - begun

    def _run_timed(self, check: Callable[[], None]) -> None:
        begun = time.monotonic()
        check()
        self._cost = time.monotonic() - begun
        self._spent += self._cost

    def _is_affordable(self, *, planned: bool) -> bool:
        """Whether another check stays within ``MAX_TIME_SHARE`` of the training's time.

        With ``planned`` that is the expected time of the whole training, otherwise the time so far.
        """
        seconds = self._training_seconds()
        done = max(1, len(self._logs) - (self._fits[-1] if self._fits else 0))
        cost = self._cost
        if not cost >= 0:  # estimated: four forward passes of a third of a step each, and a trace
            cost = 2 * 4 / 3 * seconds / max(1, self._steps)
        whole = seconds * max(1.0, (self.params.get("epochs") or done) / done)
        return self._spent + cost <= MAX_TIME_SHARE * (whole if planned else seconds)

    def _make_checks(self) -> ValidationChecks | None:
        """The checks on the buffered items; None if there can be none."""
        if self._checks is None and not self.failed:
            subject = self._subject()
            if not self._tap.batches:
                self.failed = self._tap.skipped or "no validation batch could be buffered"
            elif not has_only_tensors(self._tap.batches):
                self.failed = "validation data is ragged or sparse"
            elif subject is None or not subject[1]:
                self.failed = "there is no training batch to re-estimate statistics from"
            else:
                errors, training = subject
                if errors.changing_loss is not None:
                    self.failed = errors.changing_loss
                    return None
                validation = rebatch_items(self._tap.batches, batch_size(training[0]))
                self._checks = ValidationChecks(self._current_errors(errors), training, validation)
        return self._checks

    def _current_errors(self, errors: ModeErrors) -> ModeErrors:
        """``errors``, or newly traced ones if the model was compiled or (un)frozen since."""
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

    def _make_history(self) -> TrainingHistory | None:
        names = tuple(dict.fromkeys(name for logs in self._logs for name in logs))
        if not names:
            return None
        values = [[logs.get(name, float("nan")) for logs in self._logs] for name in names]
        return TrainingHistory(names, np.arange(1, len(self._logs) + 1), np.array(values))

    def _training_seconds(self) -> float:
        since = self._training_since
        return self._elapsed + (time.monotonic() - since if since is not None else 0.0)

    def _note_callbacks(self) -> None:
        for callback in self.others:
            _, kept = self._best.get(id(callback), (None, None))
            found = acted_callback(callback, kept)
            if found is not None:
                self._acted[id(callback)] = found

    def _note_best(self, callback: Any) -> None:
        """Remember the epoch after which a callback last found its metric to be the best."""
        best = getattr(callback, "best", None)
        if best is not None and self._best.get(id(callback), (None, 0))[0] != best:
            self._best[id(callback)] = (best, len(self._logs))

    def _steps_taken(self) -> int:
        try:
            return int(self.model.optimizer.iterations)
        except (AttributeError, TypeError, ValueError):  # a model with several optimizers
            return self._steps + int(self.params.get("steps") or 0)

    def _run_guarded(self, action: Callable[[], None]) -> None:
        """Run a part of a check; an error ends the checks instead of the training."""
        try:
            action()
        except Exception as error:  # a probe must never break the training
            text = (str(error).strip() or type(error).__name__).splitlines()[0]
            self.failed = text if isinstance(error, SaldiagError) else f"a check failed: {text}"


def _new_tap() -> BatchTap:
    return BatchTap("test_function", max_items=MAX_ITEMS)


def acted_callback(callback: Any, kept: int | None = None) -> ActedCallback | None:
    """What a callback did because of a validation metric; None if nothing.

    Args:
        callback: a callback of ``fit``.
        kept: the epoch, from 1, at which its metric was the best; None if unknown.
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


def _as_scalar(value: Any) -> float | None:
    try:
        return float(value)
    except (TypeError, ValueError):
        return None
