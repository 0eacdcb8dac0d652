"""The progress of a training run: a bar on a terminal, and one line per epoch everywhere."""

from __future__ import annotations

import time
from typing import Any

import keras
from rich.console import Console
from rich.progress import BarColumn, TextColumn, TimeRemainingColumn

from saldiag.core.keras_types import KerasModel
from saldiag.progress import print_line, transient_bar

REFRESH_SECONDS = 0.25
"""Least time between two updates of the bar: reading the learning rate takes microseconds."""

_SHOWN_METRICS = ("loss", "val_loss", "val_max_f_beta")
"""Metrics in an epoch's line, if they were measured."""


class TrainingProgress(keras.callbacks.Callback):
    """Shows epoch, step, losses, learning rate and time left, in 80 columns.

    Args:
        console: where to show them; without a terminal there is no bar.
        epochs: epochs of the whole run.
        steps: steps per epoch; None if unknown.
        first: number of the first epoch, from 0.
    """

    def __init__(self, console: Console, epochs: int, steps: int | None, first: int = 0) -> None:
        super().__init__()
        self.epochs, self.steps, self.epoch = epochs, steps, first
        self._val_loss: float | None = None
        self._begun = self._shown = 0.0
        self._console = console
        self._bar = transient_bar(
            console,
            TextColumn("{task.description}"),
            BarColumn(bar_width=12),
            TimeRemainingColumn(compact=True),
        )
        self._task = self._bar.add_task("first step …", total=epochs, completed=first)

    def on_train_begin(self, *_: Any) -> None:
        """Show the bar."""
        self._bar.start()

    def on_train_end(self, *_: Any) -> None:
        """Remove the bar."""
        self._bar.stop()

    def on_epoch_begin(self, epoch: int, *_: Any) -> None:
        """Store when the epoch began."""
        self.epoch, self._begun = epoch, time.monotonic()

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        """Move the bar."""
        now = time.monotonic()
        if self._bar.disable or now - self._shown < REFRESH_SECONDS:
            return
        self._shown = now
        share = (batch + 1) / self.steps if self.steps else 0.0
        text = self._text(batch + 1, (logs or {}).get("loss", float("nan")))
        self._bar.update(self._task, completed=self.epoch + share, description=text)

    def _text(self, step: int, loss: float) -> str:
        validation = "" if self._val_loss is None else f"  val_loss {self._val_loss:.4g}"
        return (
            f"{self.epoch + 1}/{self.epochs}  step {step}/{self.steps or '?'}"
            f"  loss {loss:.4g}{validation}  lr {learning_rate(self.model):.1e}"
        )

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Print the epoch's line."""
        values = logs or {}
        self._val_loss = values.get("val_loss")
        numbers = "".join(
            f"  {name} {values[name]:.4g}" for name in _SHOWN_METRICS if name in values
        )
        seconds = time.monotonic() - self._begun
        line = f"epoch {epoch + 1}/{self.epochs}{numbers}  {seconds:.0f} s"
        print_line(self._console, line)
        self._bar.update(self._task, completed=epoch + 1)


def learning_rate(model: KerasModel) -> float:
    """The learning rate of a compiled model's next step."""
    return float(keras.ops.convert_to_numpy(model.optimizer.learning_rate))
