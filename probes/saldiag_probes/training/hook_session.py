"""The hooks of one call of ``fit`` or one custom loop: on every optimizer and on the loss."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Any

from saldiag.core.keras_types import KerasModel, KerasOptimizer
from saldiag.core.measurement import GradientHistory, Histograms
from saldiag.core.training.schedule import Schedule, never
from saldiag_probes.hooks.step_loss import StepLossHook
from saldiag_probes.trace.paths import variable_paths
from saldiag_probes.training.gradient_norms import GradientNorms
from saldiag_probes.training.histograms import histograms_of
from saldiag_probes.training.merge_histories import merge_histories
from saldiag_probes.training.tracked_variables import HISTOGRAM_CAPACITY

RING_CAPACITY = 256
"""Measured steps that the graph keeps until Python has to read them: 3 MB for 230 variables."""


MAX_UNREAD_STEPS = 1 << 12
"""Steps after which Python reads from the graph in any case, to extend the plan of steps."""


class HookSession:
    """The hooks on one model from installing to removing them; its steps count from 0.

    Args:
        model: the model.
        optimizers: the optimizers to measure; the model's own if empty.
        schedule: the steps at which to measure gradients.
        histograms: the steps at which to take histograms.
        immediate: whether each measured step is read at once.
    """

    def __init__(
        self,
        model: KerasModel,
        optimizers: Iterable[KerasOptimizer],
        *,
        schedule: Schedule,
        histograms: Schedule,
        immediate: bool,
    ) -> None:
        self._model = model
        self._optimizers = list(optimizers)
        self._functions: tuple[Any, Any] = (None, None)  # train_function with and without hooks
        self._schedule = schedule
        self._histograms = histograms
        self._immediate = immediate
        self._batches = 0
        self._next_check = 1
        self._steps_per_batch = 1
        self._capacity = max(RING_CAPACITY, 2 * getattr(model, "steps_per_execution", 1))
        self._counted_steps = 0
        self._collected_steps = 0
        self.pending = 0
        self._pending_histograms = 0
        self._weights: list[Histograms] = []
        self._loss_hook = StepLossHook(model, tapes=len(self._optimizers) < 2)
        self._probes: list[GradientNorms] = []
        try:
            targets: Sequence[KerasOptimizer | None] = self._optimizers or [None]
            for optimizer in targets:
                self._probes.append(self._new_probe(optimizer))
        except BaseException:
            self.close()
            raise

    def add_optimizer(self, optimizer: KerasOptimizer) -> None:
        """Measure one more optimizer."""
        self._loss_hook.ignore_tapes()
        self._optimizers.append(optimizer)
        self._probes.append(self._new_probe(optimizer))

    def _new_probe(self, optimizer: KerasOptimizer | None) -> GradientNorms:
        return GradientNorms(
            self._model,
            optimizer,
            schedule=self._schedule,
            histograms=self._histograms,
            capacity=self._capacity,
            loss=self._loss_hook,
        )

    @property
    def steps(self) -> int:
        """Steps taken; with several optimizers the largest count."""
        return max((probe.steps_taken for probe in self._probes), default=0)

    @property
    def failed(self) -> str | None:
        """Why one of the probes failed; None if none did."""
        return next((probe.failed for probe in self._probes if probe.failed), None)

    @property
    def is_full(self) -> bool:
        """Whether Python should read now, before measurements or planned steps run out."""
        return (
            self.pending >= self._capacity // 2
            or self._pending_histograms >= HISTOGRAM_CAPACITY // 2
            or self._counted_steps - self._collected_steps >= MAX_UNREAD_STEPS
        )

    def count_batch(self) -> bool:
        """Count a batch; whether ``update_progress`` is due.

        Reading the graph's step counter after every batch would cost more than a small step.
        """
        self._batches += 1
        return self._batches >= self._next_check

    def update_progress(self) -> None:
        """Read the step counter, and take the weights' histograms if they are due."""
        new = range(self._counted_steps, self.steps)
        self._counted_steps = new.stop
        self.pending += sum(map(self._schedule, new))
        due = 0 if self._histograms is never else sum(map(self._histograms, new))
        self._pending_histograms += due
        if due:
            self._weights.append(histograms_of(self._weight_arrays(), new.stop - 1))
        self._schedule_next_check(len(new))

    def _schedule_next_check(self, steps: int) -> None:
        """Check when the next work is due, at the highest number of steps per batch so far."""
        self._steps_per_batch = max(self._steps_per_batch, -(-steps // self._batches))
        self._batches = 0
        self._next_check = -(-self._steps_to_wait() // self._steps_per_batch)

    def _steps_to_wait(self) -> int:
        """Number of steps until the next one that gives Python work."""
        remaining = 1 if self._immediate else self._capacity // 2 - self.pending
        for number, step in enumerate(
            range(self._counted_steps, self._counted_steps + MAX_UNREAD_STEPS), 1
        ):
            remaining -= self._schedule(step)
            if remaining <= 0 or self._histograms(step):
                return number
        return MAX_UNREAD_STEPS

    def collect_new(self, first: int) -> tuple[GradientHistory, list[Histograms]]:
        """The new measurements, with ``first`` added to their steps."""
        self.pending = self._pending_histograms = 0
        self._collected_steps = self._counted_steps
        history = merge_histories([probe.collect() for probe in self._probes])
        new_histograms = [*(probe.collect_histograms() for probe in self._probes), *self._weights]
        self._weights = []
        return (
            dataclasses.replace(history, steps=history.steps + first),
            [dataclasses.replace(h, steps=h.steps + first) for h in new_histograms],
        )

    def close(self) -> None:
        """Remove the hooks; the traced training step is kept for the next call of ``fit``."""
        hooked = getattr(self._model, "train_function", None)
        for probe in reversed(self._probes):
            probe.close()
        self._loss_hook.close()
        self._functions = hooked, getattr(self._model, "train_function", None)

    def can_reopen(self, model: KerasModel, optimizers: Sequence[KerasOptimizer]) -> bool:
        """Whether ``reopen`` is possible: Keras would not trace the step again either.

        Whatever makes Keras trace again (``compile`` above all) replaces the model's
        ``train_function``.
        """
        hooked, unhooked = self._functions
        same_optimizers = len(optimizers) == len(self._optimizers) and all(
            new is old for new, old in zip(optimizers, self._optimizers, strict=True)
        )
        if hooked is None or self.failed is not None or model is not self._model:
            return False
        return same_optimizers and model.train_function is unhooked

    def reopen(self) -> None:
        """Continue after ``close`` with the training step that is traced already."""
        self._loss_hook.open()
        for probe in self._probes:
            probe.reopen()
        self._model.train_function = self._functions[0]

    def _weight_arrays(self) -> dict[str, Any]:
        paths = variable_paths(self._model)
        variables = self._model.trainable_variables
        return {f"weights/{paths[id(v)][1]}": v.numpy() for v in variables}
