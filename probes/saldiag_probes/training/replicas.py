"""Steps of several replicas: one row for all, of the gradient that the optimizer applies."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import tensorflow as tf

from saldiag.core.keras_types import Gradient, KerasOptimizer, Tensor, TFVariable
from saldiag.core.measurement import Array
from saldiag.core.patching import Patch
from saldiag.keras_internals.optimizers import REDUCE_GRADIENTS, reduce_gradients
from saldiag.keras_internals.variables import plain_variable
from saldiag_probes.hooks.replica_context import current_replica
from saldiag_probes.training import batched_statistics
from saldiag_probes.training.ring_buffer import run_if
from saldiag_probes.training.step_statistics import (
    VariableGroup,
    after_step,
    are_few,
    before_step,
    gradient_columns,
)
from saldiag_probes.training.tracked_variables import TrackedVariables


@dataclass(frozen=True)
class ReplicaHistory:
    """What each replica contributed to T measured steps; R replicas."""

    steps: Array
    """The measured steps (T), from 0."""
    norm: Array
    """L2 norm of the replica's own gradient of all variables together (T, R), before the sum over
    replicas and before clipping; infinite if an element is not finite, NaN if unknown. Unscaled."""
    loss: Array
    """The loss whose gradient the replica computed (T, R), NaN if unknown."""


@dataclass
class ReplicaStep:
    """One step, while the replicas' threads pass through it."""

    graph: Any
    """The graph of all its tensors; None in eager code."""
    measured: Tensor | bool
    """Whether the step is measured: a bool tensor, or True."""
    groups: Sequence[VariableGroup]
    """The weights before the step, and statistics of the writing replica's own gradient."""
    positions: Sequence[int]
    """Position in a row of each variable of the writing replica."""
    scale: Tensor
    """The loss scale of the step, scalar float64."""
    losses: dict[int, Tensor] = field(default_factory=dict)
    """The loss of each replica that came so far, scalar float64."""
    norms: dict[int, Callable[[], Tensor]] = field(default_factory=dict)
    """Functions that return the gradient's norm, scaled, scalar float64, of each replica that came
    so far. Called in a branch that only measured steps run."""
    summed: Callable[[], Tensor] | None = None
    """The same of the statistics of the summed gradients, in the order of a row; None if the
    optimizer sums in another graph, and they are in a variable."""

    def columns(self, replicas: int) -> Tensor:
        """Norms, then losses of all replicas: (2 R) float64, NaN for those of other processes."""
        unknown = tf.constant(np.nan, tf.float64)
        norms = {number: norm() for number, norm in self.norms.items()}
        numbers = range(replicas)
        return tf.stack([part.get(i, unknown) for part in (norms, self.losses) for i in numbers])

    def loss(self, replicas: int) -> Tensor:
        """The sum of the losses of all replicas; those of other processes count as the mean."""
        return tf.add_n(list(self.losses.values())) * (replicas / len(self.losses))


class ReplicaRows:
    """Makes one row per step from the threads of several replicas.

    Only one thread runs at a time, and all pass a step before the next one begins. The first one
    that ever comes writes: replica 0, or in a process of several workers the first of its own.

    Args:
        tracked: the optimizer's variables, with buffers for ``replicas`` replicas.
        replicas: how many there are, in all processes.
        device: the device of the buffers.
        may_skip: whether the optimizer skips steps, and sums in a branch that others run.
    """

    def __init__(
        self, tracked: TrackedVariables, replicas: int, device: str, *, may_skip: bool
    ) -> None:
        self._tracked = tracked
        self._replicas = replicas
        self._may_skip = may_skip
        self._writer: int | None = None
        self._step: ReplicaStep | None = None
        shape = [len(tracked.infos), len(batched_statistics.GRADIENT_COLUMNS)]
        # A variable, because the optimizer may sum the gradients in a graph of its own.
        with tf.init_scope(), tf.device(device):
            self._summed = plain_variable(np.full(shape, np.nan), tf.float64)

    def before(
        self,
        replica: int,
        gradients: Sequence[Gradient],
        raw: Sequence[TFVariable],
        loss: Tensor,
        scale: Tensor,
    ) -> ReplicaStep | None:
        """A replica is about to apply its own gradients; returns the step if it writes the row.

        Args:
            replica: its number.
            gradients: its own gradients.
            raw: their variables.
            loss: its own loss, scalar float64.
            scale: the factor on the gradients, scalar float64.
        """
        if self._writer is None:
            self._writer = replica
        if replica == self._writer:
            self._step = self._first_part(gradients, raw, scale)
        step = self._step
        if step is None:
            return None
        step.losses[replica] = loss
        step.norms[replica] = self._norm_if(step.measured, gradients, raw)
        return step if replica == self._writer else None

    def after_reduction(self, gradients: Sequence[Gradient], raw: Sequence[TFVariable]) -> None:
        """The optimizer has summed the gradients over the replicas, and is about to apply them."""
        step = self._step
        if step is None or current_replica() != self._writer:
            return
        # The optimizer has unscaled them; a row holds scaled values.
        factor = tf.stack([step.scale] * 3 + [tf.ones_like(step.scale)] * 2)
        positions = self._tracked.positions_of(raw)

        def columns() -> Tensor:
            return self._tracked.in_row_order(gradient_columns(gradients) * factor, positions)

        if _current_graph() is step.graph:
            step.summed = self._tensor_if(step.measured, columns, self._summed.shape, raw)
        else:
            self._keep_if(step.measured, columns)
        self._tracked.write_histograms(gradients, positions, tf.ones_like(step.scale))

    def after(self, step: ReplicaStep) -> None:
        """The weights of all replicas are updated."""
        self._step = None
        rows = self._tracked.rows

        def write_row() -> Any:
            changes = self._tracked.in_row_order(after_step(step.groups), step.positions)
            gradients = self._summed.read_value() if step.summed is None else step.summed()
            values = tf.concat([gradients, changes[:, gradients.shape[1] :]], 1)
            scalars = tf.stack([step.loss(self._replicas), step.scale])
            replicas = step.columns(self._replicas)
            rows.write(tf.concat([scalars, tf.reshape(values, [-1]), replicas], 0))
            return tf.constant(True)

        run_if(step.measured, write_row, lambda: tf.constant(False))
        self._tracked.advance()

    def _first_part(
        self, gradients: Sequence[Gradient], raw: Sequence[TFVariable], scale: Tensor
    ) -> ReplicaStep:
        measured = self._tracked.rows.is_scheduled()
        positions = self._tracked.positions_of(raw)
        groups = before_step(measured, gradients, raw)

        def columns() -> Tensor:
            own = tf.concat([group.measured_before()[0] for group in groups], 0)
            return self._tracked.in_row_order(own, positions)

        if self._may_skip:
            # What stays if the optimizer skips the step because a gradient is not finite.
            self._keep_if(measured, columns)
        return ReplicaStep(_current_graph(), measured, groups, positions, scale)

    def _keep_if(self, measured: Tensor | bool, columns: Callable[[], Tensor]) -> None:
        def keep() -> Any:
            self._summed.assign(columns())
            return tf.constant(True)

        run_if(measured, keep, lambda: tf.constant(False))

    def _norm_if(
        self, measured: Tensor | bool, gradients: Sequence[Gradient], raw: Sequence[TFVariable]
    ) -> Callable[[], Tensor]:
        """L2 norm of all gradients together, scalar float64; nan if there is none."""
        present = [gradient for gradient in gradients if gradient is not None]
        if not present:
            return lambda: tf.constant(np.nan, tf.float64)
        return self._tensor_if(
            measured, lambda: tf.linalg.norm(gradient_columns(present)[:, 0]), [], raw
        )

    @staticmethod
    def _tensor_if(
        measured: Tensor | bool,
        compute: Callable[[], Tensor],
        shape: Any,
        raw: Sequence[TFVariable],
    ) -> Callable[[], Tensor]:
        """A function that computes a float64 tensor in a later branch, or returns it from one now.

        To compute later keeps the gradients in memory until then.
        """
        if are_few(raw):
            return compute
        found = run_if(measured, compute, lambda: tf.fill(shape, tf.constant(np.nan, tf.float64)))
        return lambda: found


def _current_graph() -> Any:
    """The graph that is being built; None in eager code."""
    return None if tf.executing_eagerly() else tf.compat.v1.get_default_graph()


class ReductionHook:
    """Passes on the gradients that an optimizer has summed over the replicas, until ``remove``.

    The optimizer sums what is left after clipping and unscaling, and applies the result.

    Args:
        optimizer: any Keras optimizer; of a LossScaleOptimizer its inner one is hooked.
        after: called in each replica with the pairs of summed gradient and variable.
    """

    def __init__(self, optimizer: KerasOptimizer, after: Callable[[Any], None]) -> None:
        while (inner := getattr(optimizer, "inner_optimizer", None)) is not None:
            optimizer = inner
        hook = _wrap_reduction(
            reduce_gradients(optimizer), tf.autograph.experimental.do_not_convert(after)
        )
        self._patch = Patch(optimizer, REDUCE_GRADIENTS, hook, untracked=True)

    def remove(self) -> None:
        """Restore the method."""
        self._patch.withdraw()


def _wrap_reduction(original: Callable[..., Any], after: Callable[[Any], None]) -> Any:
    def reduce(grads_and_vars: Any) -> Any:
        reduced = original(grads_and_vars)
        after(reduced)
        return reduced

    return reduce
