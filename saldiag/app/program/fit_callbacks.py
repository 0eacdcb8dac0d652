"""Callbacks that ``saldiag run`` adds to a ``fit`` of the program."""

from __future__ import annotations

from typing import Any

import keras

from saldiag.app.program.watched_model import WatchedModel


class TrainingMonitor(keras.callbacks.Callback):
    """Callback that counts the steps of ``fit``, and ends a training early.

    Args:
        watched: the model.
        steps: steps after which the training ends; None for no limit.
        stop_early: whether the training ends once it is certain to fail.
    """

    def __init__(self, watched: WatchedModel, steps: int | None, stop_early: bool) -> None:
        super().__init__()
        self._watched, self._left, self._stop_early = watched, steps, stop_early
        self.stopped = ""

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:  # noqa: ARG002 - Keras'
        """Count the step, and end ``fit`` if there were enough, or the training is failing."""
        self._watched.steps += 1
        if self._left is not None:
            self._left -= 1
            if self._left <= 0:
                self.model.stop_training = True
        if (
            self._stop_early
            and self._watched.is_check_due()
            and (reason := self._watched.certain_failure())
        ):
            self.stopped = reason
            self.model.stop_training = True


def joined_callbacks(callbacks: Any, *ours: Any) -> Any:
    """The program's callbacks, followed by saldiag's."""
    if hasattr(callbacks, "append") and not isinstance(callbacks, list):
        for callback in ours:  # a keras.callbacks.CallbackList
            callbacks.append(callback)
        return callbacks
    if callbacks is None:
        return list(ours)
    return [*(callbacks if isinstance(callbacks, (list, tuple)) else [callbacks]), *ours]
