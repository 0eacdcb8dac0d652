"""The variables of one optimizer, and the ring buffers that hold their measurements."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import tensorflow as tf

from saldiag.core.keras_types import Gradient, KerasModel, Tensor, TFVariable
from saldiag.core.measurement import VariableInfo
from saldiag.core.training.schedule import Schedule, never
from saldiag.keras_internals.graphs import is_compiled_by_xla
from saldiag.keras_internals.variables import plain_variable
from saldiag_probes.state.isolation import backing_variable
from saldiag_probes.trace.paths import variable_paths
from saldiag_probes.training.histograms import BINS, gradient_histograms
from saldiag_probes.training.ring_buffer import RingBuffer, run_if
from saldiag_probes.training.step_statistics import COLUMNS

HISTOGRAM_CAPACITY = 8
"""Measured steps of histograms kept between two reads: 60 kB each for 230 variables."""


@dataclass(frozen=True)
class TrackedVariables:
    """The optimizer's variables, their positions in a row, and the buffers that hold the rows."""

    infos: list[VariableInfo]
    """The variables in the model's order, which is the order in a row."""
    position_by_ref: dict[Any, int]
    """Position in a row by ``variable.ref()``."""
    rows: RingBuffer
    """Rows of loss, loss scale, ``COLUMNS`` of each variable, and norm and loss of each replica."""
    histograms: RingBuffer | None
    """Rows of loss scale, and range and counts of each variable; None without histograms."""
    anchor: Any
    """A scalar variable that nothing reads, see ``copies_for_xla``."""
    seen: set[int] = field(default_factory=set)
    """Positions of the variables that any step passed to ``apply``."""

    @classmethod
    def for_model(
        cls,
        model: KerasModel,
        raw: Sequence[TFVariable],
        schedules: tuple[Schedule, Schedule],
        capacity: int,
        device: str,
        replicas: int = 0,
    ) -> TrackedVariables:
        """The variables of an optimizer, and new ring buffers for them.

        Args:
            model: the model whose variable paths are used.
            raw: the optimizer's variables, ``tf.Variable``.
            schedules: the steps at which to measure, and those at which to take histograms.
            capacity: rows that the first ring buffer keeps.
            device: the device of the ring buffers.
            replicas: how many replicas add a norm and a loss to each row; 0 outside of several.
        """
        paths_by_id = variable_paths(model)
        paths = {backing_variable(v).ref(): paths_by_id[id(v)] for v in model.variables}
        order = {key: index for index, key in enumerate(paths)}
        # In the model's order, in whatever order a training step passes them.
        raw = sorted(raw, key=lambda v: order.get(v.ref(), len(order)))
        infos = [_variable_info(v, *paths.get(v.ref(), ("", v.name.split(":")[0]))) for v in raw]
        rows = RingBuffer(
            2 + len(COLUMNS) * len(raw) + 2 * replicas, capacity, schedules[0], device
        )
        width = 1 + (2 + BINS) * len(raw)
        histograms = None
        if schedules[1] is not never:
            histograms = RingBuffer(width, HISTOGRAM_CAPACITY, schedules[1], device)
        with tf.init_scope(), tf.device(device):
            anchor = plain_variable(0.0, tf.float32)
        return cls(infos, {v.ref(): i for i, v in enumerate(raw)}, rows, histograms, anchor)

    def positions_of(self, raw: Sequence[TFVariable]) -> list[int]:
        """Positions in a row of these variables, which count as seen from now on.

        Raises:
            LookupError: the optimizer was built for other variables.
        """
        unknown = [variable.name for variable in raw if variable.ref() not in self.position_by_ref]
        if unknown:
            raise LookupError(
                f"{unknown[0]} is not among the variables that the optimizer was built for"
            )
        positions = [self.position_by_ref[variable.ref()] for variable in raw]
        self.seen.update(positions)
        return positions

    def seen_variables(self) -> tuple[list[VariableInfo], list[int]]:
        """The variables that any step passed a gradient or None for, and their positions."""
        positions = sorted(self.seen)
        return [self.infos[position] for position in positions], positions

    def in_row_order(self, values: Tensor, positions: Sequence[int]) -> Tensor:
        """Rows of some variables as rows of all, nan for those that are missing."""
        if list(positions) == list(range(len(self.infos))):
            return values
        gap = tf.constant(np.nan, tf.float64, [1, values.shape[1]])
        order = np.full(len(self.infos), len(positions))
        order[list(positions)] = np.arange(len(positions))
        return tf.gather(tf.concat([values, gap], 0), order)

    def copies_for_xla(self, gradients: Sequence[Gradient]) -> Sequence[Gradient]:
        """The gradients themselves or, in a step that XLA compiles, copies of them.

        A value that something besides an elementwise operation needs is no longer fused into the
        update of the weights, which then rounds differently. So the update keeps the gradients, and
        the statistics use copies, which XLA must neither simplify nor move into a branch: their
        condition is unknown to it, and something outside of the branches uses them.
        """
        if not is_compiled_by_xla():
            return gradients
        always = self.rows.step >= 0
        copies = [
            None if gradient is None else _map_values(partial(_copy_if, always), gradient)
            for gradient in gradients
        ]
        stored = [
            g.values if isinstance(g, tf.IndexedSlices) else g for g in copies if g is not None
        ]
        firsts = [tf.reduce_sum(tf.reshape(tensor, [-1])[:1]) for tensor in stored]
        self.anchor.assign(sum((tf.cast(first, tf.float32) for first in firsts), 0.0))
        return copies

    def write_row(self, row: Tensor) -> None:
        """Write a row, nan in the columns at its end that are missing."""
        if missing := self.rows.width - row.shape[0]:
            row = tf.concat([row, tf.constant(np.nan, row.dtype, [missing])], 0)
        self.rows.write(row)

    def write_histograms(
        self, gradients: Sequence[Gradient], positions: Sequence[int], scale: Tensor
    ) -> None:
        """Write a row of histograms if the step is scheduled."""
        ring = self.histograms
        if ring is None:
            return

        def write_row() -> Any:
            values = self.in_row_order(gradient_histograms(gradients), positions)
            ring.write(tf.concat([[scale], tf.reshape(values, [-1])], 0))
            return tf.constant(True)

        run_if(ring.is_scheduled(), write_row, lambda: tf.constant(False))

    def advance(self) -> None:
        """Move on to the next step."""
        for ring in self._open_rings():
            ring.advance()

    def stop(self) -> None:
        """Write nothing from now on."""
        for ring in self._open_rings():
            ring.stop()

    def resume(self) -> None:
        """Continue after ``stop``."""
        for ring in self._open_rings():
            ring.resume()

    def _open_rings(self) -> list[RingBuffer]:
        return [ring for ring in (self.rows, self.histograms) if ring is not None]


def _copy_if(condition: Tensor, values: Tensor) -> Any:
    return tf.where(condition, values, tf.zeros_like(values))


def _map_values(function: Callable[[Tensor], Any], gradient: Gradient) -> Any:
    """Apply a function to a gradient's numbers, dense or sparse."""
    if isinstance(gradient, tf.IndexedSlices):
        values = function(gradient.values)
        return tf.IndexedSlices(values, gradient.indices, gradient.dense_shape)
    return function(gradient)


def _variable_info(variable: TFVariable, layer: str, path: str) -> VariableInfo:
    return VariableInfo(path, layer, tuple(variable.shape.as_list()), variable.dtype.name)
