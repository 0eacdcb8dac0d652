"""Gradient probes of a run that may be resumed: steps count from the first start of the run."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, TypeVar

import numpy as np

from saldiag.core.files.run import Run
from saldiag.core.measurement import (
    GradientHistory,
    Histograms,
    Measurement,
    Measurements,
    arrays_of,
)
from saldiag.core.training.schedule import Schedule, never
from saldiag_probes.training.callback import Watch

T = TypeVar("T", GradientHistory, Histograms)


class ResumedProbes:
    """The gradient probe, with its measurements from before a resume.

    Args:
        run: holds the measurements; those of steps before ``first_step`` are continued.
        schedule: at which steps of the run to measure gradients.
        first_step: the next step of the run, 0 in a fresh one.
        epoch_steps: steps per epoch, to take histograms at the last one of each; None takes none.
    """

    def __init__(
        self, run: Run, schedule: Schedule, first_step: int, epoch_steps: int | None
    ) -> None:
        self._run = run
        self._first = first_step
        self._earlier = run.read_measurements() if first_step else None
        self.watch = Watch(
            schedule=lambda step: schedule(first_step + step),
            histograms=never
            if epoch_steps is None
            else lambda step: (first_step + step + 1) % epoch_steps == 0,
        )

    def write_measurements(self) -> None:
        """Write the measurements so far.

        Raises:
            RunError: the run directory cannot be written.
        """
        for measurement in self.watch.measurements():
            self._run.write_measurement(self._join_with_earlier(measurement))

    def missing(self) -> dict[str, str]:
        """Why gradients are missing, by measurement key, if the probe failed."""
        return {GradientHistory.key: self.watch.failed} if self.watch.failed else {}

    def _join_with_earlier(self, measured: Measurement) -> Measurement:
        earlier = self._earlier or Measurements()
        if isinstance(measured, GradientHistory):
            return join_gradients(earlier.get(GradientHistory), measured, self._first)
        if isinstance(measured, Histograms):
            return join_histograms(earlier.get(Histograms), measured, self._first)
        return measured


def join_gradients(
    before: GradientHistory | None, after: GradientHistory, first_step: int
) -> GradientHistory:
    """Concatenate two histories of one run.

    Args:
        before: measured before the resume; None in a fresh run. Its rows from ``first_step`` on are
            dropped: they belong to an epoch that was broken off and is repeated.
        after: measured since, with steps from 0.
        first_step: the run's step at which ``after`` begins.
    """
    if before is None:
        return replace(after, steps=after.steps + first_step)
    dropped = before.dropped_steps + after.dropped_steps
    arrays = _joined_arrays(before, after, first_step)
    # The probe learns the variables at its first step: without one, ``after`` has none.
    variables = after.variables if after.steps.size else before.variables
    return replace(after, variables=variables, dropped_steps=dropped, **arrays)


def join_histograms(before: Histograms | None, after: Histograms, first_step: int) -> Histograms:
    """Concatenate the histograms of one run; see ``join_gradients``."""
    if before is None:
        return replace(after, steps=after.steps + first_step)
    kept = np.flatnonzero(before.steps < first_step)
    names = (*(before.names[row] for row in kept), *after.names)
    return replace(after, names=names, **_joined_arrays(before, after, first_step))


def _joined_arrays(before: T, after: T, first_step: int) -> dict[str, Any]:
    """The concatenated arrays by field name; the first axis of each is the steps."""
    kept = before.steps < first_step
    first = {name: array[kept] for name, array in arrays_of(before).items()}
    if not after.steps.size:
        return first
    then = {**arrays_of(after), "steps": after.steps + first_step}
    return {name: np.concatenate([first[name], array]) for name, array in then.items()}
