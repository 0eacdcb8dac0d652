"""Gradients and updates of each variable, computed inside the training step.

There is no second backward pass: the statistics are computed, in the same graph, from the gradients
that the step passes to the optimizer. They are inside a ``tf.cond``, so steps that are not
scheduled cost next to nothing, and Python reads them later from a ring buffer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from saldiag.core.errors import ModelError
from saldiag.core.interrupts import reraise_interrupt
from saldiag.core.keras_types import Gradient, KerasModel, KerasOptimizer, Tensor, TFVariable
from saldiag.core.measurement import Array, GradientHistory, Histograms, VariableInfo
from saldiag.core.training.schedule import Schedule, every, never
from saldiag.keras_internals.graphs import is_compiled_by_xla
from saldiag.keras_internals.optimizers import optimized_variables
from saldiag_probes.hooks.apply_hook import ApplyHook, retrace_train_step
from saldiag_probes.hooks.replica_context import (
    check_strategy,
    current_replica,
    replica_count,
)
from saldiag_probes.hooks.step_loss import StepLossHook
from saldiag_probes.state.isolation import backing_variable
from saldiag_probes.training.histograms import BINS, rows_to_histograms
from saldiag_probes.training.replicas import (
    ReductionHook,
    ReplicaHistory,
    ReplicaRows,
    ReplicaStep,
)
from saldiag_probes.training.ring_buffer import run_if
from saldiag_probes.training.step_statistics import COLUMNS, VariableGroup, after_step, before_step
from saldiag_probes.training.tracked_variables import TrackedVariables


class GradientNorms:
    """Measures the gradients passed to one optimizer, and the updates that it makes.

    Works under ``fit`` (``run_eagerly``, ``jit_compile`` and ``steps_per_execution`` included), a
    custom ``train_step`` and a custom loop, eager or under ``tf.function``, with XLA or without:
    whatever calls this optimizer's ``apply`` or ``apply_gradients``. Each such call is a step. A
    model with several optimizers needs one ``GradientNorms`` for each.

    A training step that Keras has traced already is traced again, now and on ``close``. Any other
    ``tf.function`` around the step must be called for the first time after this object is created.
    Under gradient accumulation each call is a step with its own batch's gradient, and
    ``update_ratio`` is 0 except at the steps at which the optimizer updates the weights.

    On several replicas (``MirroredStrategy``, ``MultiWorkerMirroredStrategy``) a row is about the
    gradient that the optimizer sums over the replicas and applies, which needs no communication
    besides the optimizer's own. The optimizer clips in each replica before it sums, so there the
    values are those after clipping; if a loss scale makes it skip the step, they are those of one
    replica. The loss is the sum over the replicas. ``collect_replicas`` returns each replica's own
    part.

    Values are those before clipping. Under a LossScaleOptimizer or ``loss_scale_factor`` they are
    unscaled (non-finite elements are counted in the scaled gradients). ``norm``, ``mean`` and
    ``maximum`` are infinite if an element is not finite, ``update_ratio`` is infinite if a variable
    of zeros changes, and all columns of the gradient are nan if there is none.

    An error inside the probe never reaches the training: the probe removes its hook and keeps the
    reason in ``failed``.

    Args:
        model: the model whose variable paths are used.
        optimizer: the optimizer to measure; the model's own if None.
        schedule: the steps at which to measure; every step if None.
        histograms: the steps at which to take histograms of the gradients.
        capacity: measured steps kept between two calls of ``collect``; older ones are lost.
        loss: the hook that provides the step's loss; without it the loss is nan.

    Raises:
        ModelError: there is no optimizer, or the model's strategy runs steps on other machines.
    """

    def __init__(
        self,
        model: KerasModel,
        optimizer: KerasOptimizer | None = None,
        *,
        schedule: Schedule | None = None,
        histograms: Schedule = never,
        capacity: int = 256,
        loss: StepLossHook | None = None,
    ) -> None:
        self._model = model
        self._optimizer = _optimizer_of(model, optimizer)
        self._schedules = (every(1) if schedule is None else schedule, histograms)
        self._capacity = capacity
        self._loss = loss
        self._tracked: TrackedVariables | None = None
        self._replicas: ReplicaRows | None = None
        self._reduction: ReductionHook | None = None
        self._replica_parts: list[tuple[Array, Array]] = []
        self._open = True
        self.failed: str | None = None
        self._hook = self._install_hook()
        retrace_train_step(model)

    def __enter__(self) -> GradientNorms:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def steps_taken(self) -> int:
        """Calls of ``apply`` seen so far, measured or not."""
        return 0 if self._tracked is None else self._tracked.rows.steps_taken

    def collect(self) -> GradientHistory:
        """What was measured since the last call, and how many measured steps were lost."""
        if self._tracked is None:
            nothing = np.zeros((0, 2)), np.zeros((0, 0, len(COLUMNS)))
            return _gradient_history([], np.zeros(0, np.int64), *nothing, dropped=0)
        infos, positions = self._tracked.seen_variables()
        steps, rows, dropped = self._tracked.rows.drain()
        count = len(self._tracked.infos)
        values, replicas = np.split(rows[:, 2:], [count * len(COLUMNS)], axis=1)
        if replicas.size:
            norms, losses = np.split(replicas, 2, axis=1)
            self._replica_parts.append((steps, np.stack([norms / rows[:, 1:2], losses])))
        values = values.reshape(len(rows), count, len(COLUMNS))
        return _gradient_history(infos, steps, rows[:, :2], values[:, positions], dropped)

    def collect_replicas(self) -> ReplicaHistory | None:
        """What ``collect`` read of each replica since the last call; None without replicas."""
        parts, self._replica_parts = self._replica_parts, []
        if not parts:
            return None
        norm, loss = np.concatenate([values for _, values in parts], axis=1)
        return ReplicaHistory(np.concatenate([steps for steps, _ in parts]), norm, loss)

    def collect_histograms(self) -> Histograms:
        """The histograms of gradients taken since the last call."""
        if self._tracked is None or self._tracked.histograms is None:
            return rows_to_histograms([], np.zeros(0, np.int64), np.zeros((0, 0, 0)))
        steps, rows, _ = self._tracked.histograms.drain()
        values = rows[:, 1:].reshape(len(rows), len(self._tracked.infos), 2 + BINS)
        values[:, :, :2] /= rows[:, :1, np.newaxis]  # the ends of the range, unscaled
        names = [f"gradients/{info.path}" for info in self._tracked.infos]
        return rows_to_histograms(names, steps, values)

    def close(self) -> None:
        """Remove the hook. Measurements can still be collected."""
        if self._open:
            self._remove_hook()
            retrace_train_step(self._model)

    def reopen(self) -> None:
        """Install the hook again after ``close``; the caller restores the traced training step."""
        self._open, self._hook = True, self._install_hook()
        if self._replicas is not None:
            self._reduction = ReductionHook(self._optimizer, self._guarded_reduction)
        if self._tracked is not None:
            self._tracked.resume()

    def _install_hook(self) -> ApplyHook:
        return ApplyHook(self._optimizer, self._guarded_before, self._guarded_after)

    def _track_variables(self, variables: Sequence[TFVariable]) -> TrackedVariables:
        if self._tracked is None:
            # Not before the step is traced: only then is it known whether XLA compiles it.
            raw = [backing_variable(variable) for variable in variables]
            device = raw[0].device if raw and is_compiled_by_xla() else "CPU:0"
            replicas = replica_count()
            self._tracked = TrackedVariables.for_model(
                self._model, raw, self._schedules, self._capacity, device, replicas
            )
            if replicas:
                may_skip = hasattr(self._optimizer, "inner_optimizer")
                self._replicas = ReplicaRows(self._tracked, replicas, device, may_skip=may_skip)
                self._reduction = ReductionHook(self._optimizer, self._guarded_reduction)
        return self._tracked

    def _remove_hook(self) -> None:
        self._open = False
        self._hook.remove()
        if self._reduction is not None:
            self._reduction.remove()
        if self._tracked is not None:
            self._tracked.stop()

    def _guarded_before(
        self, grads: Any, trainable_variables: Any = None
    ) -> _PendingStep | ReplicaStep | None:
        if not self._open:
            return None
        try:
            return self._before_apply(grads, trainable_variables)
        except Exception as error:  # a probe must never break the training
            self._record_failure(error)
            return None

    def _guarded_after(self, pending: _PendingStep | ReplicaStep | None) -> None:
        if pending is None or not self._open:
            return
        try:
            self._after_apply(pending)
        except Exception as error:
            self._record_failure(error)

    def _guarded_reduction(self, grads_and_vars: Any) -> None:
        if not self._open or self._tracked is None or self._replicas is None:
            return
        try:
            gradients, raw = self._gradients_of(grads_and_vars)
            self._replicas.after_reduction(self._tracked.copies_for_xla(gradients), raw)
        except Exception as error:
            self._record_failure(error)

    def _record_failure(self, error: Exception) -> None:
        reraise_interrupt(error)
        first_line = (str(error).strip() or type(error).__name__).splitlines()[0]
        self.failed = f"the gradients probe failed: {first_line}"
        self._remove_hook()

    def _before_apply(
        self, grads: Sequence[Gradient], trainable_variables: Any
    ) -> _PendingStep | ReplicaStep | None:
        # This runs while the training step is traced (or, eagerly, in every step): what it returns
        # are tensors of the step's graph.
        check_strategy(tf.distribute.get_strategy())
        all_variables = optimized_variables(self._optimizer)
        given = all_variables if trainable_variables is None else list(trainable_variables)
        tracked = self._track_variables(all_variables or given)
        gradients, raw = self._gradients_of(zip(grads, given, strict=True))
        gradients = tracked.copies_for_xla(gradients)
        scale = tf.cast(_loss_scale(self._optimizer), tf.float64)
        loss = None if self._loss is None else self._loss.step_loss(raw, scale)
        loss = tf.constant(np.nan, tf.float64) if loss is None else tf.cast(loss, tf.float64)
        replica = current_replica()
        if replica is not None and self._replicas is not None:
            return self._replicas.before(replica, gradients, raw, loss, scale)
        positions = tracked.positions_of(raw)
        tracked.write_histograms(gradients, positions, scale)
        measured = tracked.rows.is_scheduled()
        groups = before_step(measured, gradients, raw)
        return _PendingStep(tracked, measured, positions, groups, loss, scale)

    def _gradients_of(self, grads_and_vars: Any) -> tuple[Sequence[Gradient], list[TFVariable]]:
        """The gradients, with their dense shape, and the variables behind those of Keras."""
        pairs = [(gradient, backing_variable(variable)) for gradient, variable in grads_and_vars]
        return [_with_dense_shape(*pair) for pair in pairs], [raw for _, raw in pairs]

    def _after_apply(self, pending: _PendingStep | ReplicaStep) -> None:
        # After the optimizer's step: the same variables now hold the new weights.
        if isinstance(pending, ReplicaStep):
            if self._replicas is not None:
                self._replicas.after(pending)
            return
        tracked = pending.tracked

        def write_row() -> Any:
            values = tf.reshape(
                tracked.in_row_order(after_step(pending.groups), pending.positions), [-1]
            )
            tracked.write_row(tf.concat([[pending.loss, pending.scale], values], 0))
            return tf.constant(True)

        run_if(pending.measured, write_row, lambda: tf.constant(False))
        tracked.advance()


@dataclass(frozen=True)
class _PendingStep:
    """What is passed from before the optimizer's step to after it."""

    tracked: TrackedVariables
    """The optimizer's variables and their buffers."""
    measured: Tensor | bool
    """Whether the step is measured: a bool tensor, or True."""
    positions: Sequence[int]
    """Position in a row of each variable of the step."""
    groups: Sequence[VariableGroup]
    """Gradient statistics, and the weights before the step."""
    loss: Tensor
    """The step's loss, scalar float64; nan if unknown."""
    scale: Tensor
    """The loss scale of the step, scalar float64."""


def _gradient_history(
    infos: Sequence[VariableInfo], steps: Array, scalars: Array, values: Array, dropped: int
) -> GradientHistory:
    """Loss and loss scale (T, 2) and ``COLUMNS`` per variable (T, V, 7), unscaled."""
    columns = {name: values[:, :, i] for i, name in enumerate(COLUMNS)}
    loss, scale = scalars[:, 0], scalars[:, 1]
    for name in ("norm", "mean", "maximum"):
        columns[name] = columns[name] / scale[:, np.newaxis]
    return GradientHistory(
        variables=tuple(infos),
        steps=steps,
        loss=loss,
        loss_scale=scale,
        dropped_steps=dropped,
        **columns,
    )


def _optimizer_of(model: KerasModel, optimizer: KerasOptimizer | None) -> Any:
    """The optimizer to measure, if it can be measured."""
    optimizer = getattr(model, "optimizer", None) if optimizer is None else optimizer
    if optimizer is None:
        raise ModelError(
            f"{model.name}: there is no optimizer: compile the model, or pass one as optimizer"
        )
    check_strategy(getattr(model, "distribute_strategy", None))
    return optimizer


def _loss_scale(optimizer: KerasOptimizer) -> Tensor:
    """The factor on the gradients that the optimizer is given now."""
    if isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
        return optimizer.dynamic_scale.value if optimizer.built else optimizer.initial_scale
    return optimizer.loss_scale_factor or 1.0


def _with_dense_shape(gradient: Gradient, variable: TFVariable) -> Any:
    """The gradient as a tensor, or as IndexedSlices that know the variable's shape."""
    if isinstance(gradient, tf.IndexedSlices):
        shape = tf.constant(variable.shape.as_list(), gradient.indices.dtype)
        return tf.IndexedSlices(gradient.values, gradient.indices, shape)
    return None if gradient is None else tf.convert_to_tensor(gradient)
