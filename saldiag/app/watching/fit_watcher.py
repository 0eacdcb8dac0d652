"""The callback that watches ``fit``: first batches, gradients, validation, and early ends."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras

from saldiag.app.watching.watched_model import WatchedModel
from saldiag.core.training.fit_plan import FitPlan
from saldiag.subject.data.fit_batches import PREVIEW_BATCHES
from saldiag_probes.hooks.batch_tap import BatchTap
from saldiag_probes.state.random_draws import wait_for_draws


def _do_nothing() -> None:
    """Do nothing."""


class FitWatcher(keras.callbacks.Callback):
    """Watches one ``fit`` of one model; put it last among the callbacks, to see their logs.

    The first batches that ``fit`` draws are buffered on their way. The model is traced on the first
    of them before its first step, and the data is examined when there are enough of them, or when
    the epoch ends.

    Args:
        watched: the model.
        plan: arguments of the ``fit``.
        before_first_step: called when the first batch was examined; may raise.
    """

    def __init__(
        self,
        watched: WatchedModel,
        plan: FitPlan,
        before_first_step: Callable[[], None] = _do_nothing,
    ) -> None:
        super().__init__()
        self.stopped = ""
        """Why the watcher ended the training; empty if it did not."""
        self._watched, self.plan = watched, plan
        self._before_first_step = before_first_step
        self._tap: BatchTap | None = None
        self._left = watched.options.steps

    def on_train_begin(self, logs: Any = None) -> None:
        """Install the hooks; buffer the first batches if the model was not examined yet."""
        watched, validation = self._watched, self._watched.validation
        watched.start_fit()
        validation.set_model(self.model)
        validation.set_params(self.params)
        validation.others = [one for one in self.plan.callbacks if one is not self]
        validation.on_train_begin(logs)
        if not watched.record.is_examined:
            self._tap = BatchTap(
                "train_function", max_batches=PREVIEW_BATCHES, on_batch=self._on_batch
            )
            watched.watch.guard_first_step(self._tap, self.model)
            self._tap.attach(self.model)

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:  # noqa: ARG002 - Keras'
        """Count the step, and end ``fit`` if there were enough, or the training is failing."""
        watched = self._watched
        watched.count_step()
        if self._tap is not None and self._tap.is_full:
            self._close_tap()
        if self._left is not None:
            self._left -= 1
            if self._left <= 0:
                self.model.stop_training = True
        if (
            watched.options.stop_early
            and watched.is_check_due()
            and (reason := watched.certain_failure())
        ):
            self.stopped = reason
            self.model.stop_training = True

    def on_test_begin(self, logs: Any = None) -> None:
        """Start buffering the first validation batches."""
        self.examine_buffered()
        self._watched.validation.on_test_begin(logs)

    def on_test_end(self, logs: Any = None) -> None:
        """Restore the model's test function."""
        self._watched.validation.on_test_end(logs)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Record the curves, and check the validation if a check is due."""
        self.examine_buffered()
        self._wait_for_draws()
        self._watched.validation.on_epoch_end(epoch, logs)

    def on_train_end(self, logs: Any = None) -> None:
        """Remove the hooks; a run without an optimizer step counts as failed."""
        self.examine_buffered()
        self._wait_for_draws()
        self._watched.validation.on_train_end(logs)
        self._watched.watch.on_train_end(logs)

    def _on_batch(self) -> None:
        """Examine new batches before the model gets them."""
        tap = self._tap
        if tap is None:
            return
        self._wait_for_draws()
        if not self._watched.record.is_examined:
            self._watched.examine_first_batch(tap.batches[0], self.plan)
            self._before_first_step()
        if tap.is_full:
            self._watched.examine_batches(tuple(tap.batches))

    def examine_buffered(self) -> None:
        """Examine batches of an epoch that has few of them, and restore the model's function.

        Call this after an exception in ``fit``, which then skips ``on_train_end``.
        """
        tap = self._tap
        self._close_tap()
        if tap is None:
            return
        self._wait_for_draws()
        if tap.batches:
            self._watched.examine_batches(tuple(tap.batches))
        elif tap.skipped:
            self._watched.mark_data_unreadable(tap.skipped)

    def _wait_for_draws(self) -> None:
        """Wait for draws of Python data, which TensorFlow makes ahead in threads of its own.

        A random number that they draw during an examination would be drawn again after it.
        """
        if self.plan.is_drawn_once:
            wait_for_draws()

    def _close_tap(self) -> None:
        tap, self._tap = self._tap, None
        if tap is not None:
            tap.detach()


def joined_callbacks(callbacks: Any, *ours: Any) -> Any:
    """The program's callbacks, followed by saldiag's."""
    if hasattr(callbacks, "append") and not isinstance(callbacks, list):
        for callback in ours:  # a keras.callbacks.CallbackList
            callbacks.append(callback)
        return callbacks
    if callbacks is None:
        return list(ours)
    return [*(callbacks if isinstance(callbacks, (list, tuple)) else [callbacks]), *ours]
