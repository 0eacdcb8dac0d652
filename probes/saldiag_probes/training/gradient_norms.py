"""Gradients and updates of each variable, computed inside the training step.

No second backward pass: the statistics are taken of the gradients that the step hands to the
optimizer, in the same graph. They sit in a ``tf.cond``, so a step that is not scheduled costs next
to nothing, and Python reads them from a ring of rows when it likes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from saldiag.core.errors import ModelError
from saldiag.core.interrupts import reraise_interrupt
from saldiag.core.measurement import Array, GradientHistory, Histograms, VariableInfo
from saldiag.core.training.schedule import Schedule, every, never
from saldiag.keras_internals.optimizers import optimized_variables
from saldiag_probes.trace.paths import variable_paths
from saldiag_probes.training.apply_hook import ApplyHook, trace_again
from saldiag_probes.training.histograms import BINS, gradient_histograms, rows_to_histograms
from saldiag_probes.training.ring_buffer import Ring, when
from saldiag_probes.training.step_loss import LossTap
from saldiag_probes.training.step_statistics import COLUMNS, Part, after_step, before_step

HISTOGRAM_CAPACITY = 8
"""Measured steps of histograms kept between two reads: a step is 60 kB for 230 variables."""


class GradientNorms:
    """Measures the gradients that one optimizer is given, and the updates it makes of them.

    Works under ``fit`` (``run_eagerly`` and ``steps_per_execution`` included), a custom
    ``train_step`` and a custom loop, eager or under ``tf.function``: whatever calls this
    optimizer's ``apply`` or ``apply_gradients``. Each such call is a step. A model with several
    optimizers takes one ``GradientNorms`` each.

    A training step that Keras has traced before is traced again, now and on ``close``; a
    ``tf.function`` of your own must be called for the first time after this is made. Under
    gradient accumulation each call is a step with its own batch's gradient, and ``update_ratio``
    is 0 but for the steps at which the optimizer moves the weights.

    Values are those before clipping; under a LossScaleOptimizer or ``loss_scale_factor`` they are
    unscaled (non-finite elements are counted as they come). ``norm``, ``mean`` and ``maximum`` are
    infinite where an element is not finite, ``update_ratio`` is infinite where a variable of zeros
    moves, and all columns of the gradient are nan where there is none.

    An error inside the probe never reaches the training: the probe unhooks itself and keeps the
    reason in ``failed``.

    Args:
        model: names the variables.
        optimizer: the optimizer to listen to; the model's own if None.
        schedule: at which steps to measure.
        histograms: at which steps to take histograms of the gradients.
        capacity: measured steps kept between two calls of ``collect``; older ones are lost.
        loss: where to take the step's loss from.

    Raises:
        ModelError: there is no optimizer, or the model runs under XLA or on several replicas.
    """

    def __init__(
        self,
        model: Any,
        optimizer: Any = None,
        *,
        schedule: Schedule | None = None,
        histograms: Schedule = never,
        capacity: int = 256,
        loss: LossTap | None = None,
    ) -> None:
        self._model = model
        self._optimizer = _optimizer_of(model, optimizer)
        self._schedules = (every(1) if schedule is None else schedule, histograms)
        self._capacity = capacity
        self._loss = loss
        self._known: _Known | None = None
        self._open = True
        self.failed: str | None = None
        if self._optimizer.built:
            # Not while the step is traced: tf.function traces a second time what makes variables.
            self._know(optimized_variables(self._optimizer))
        self._hook = self._hooked()
        trace_again(model)

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
        return 0 if self._known is None else self._known.rows.steps_taken

    def collect(self) -> GradientHistory:
        """What was measured since the last call, and how many measured steps were lost."""
        if self._known is None:
            nothing = np.zeros((0, 2)), np.zeros((0, 0, len(COLUMNS)))
            return _history([], np.zeros(0, np.int64), *nothing, dropped=0)
        infos, places = self._known.given()
        steps, rows, dropped = self._known.rows.drain()
        values = rows[:, 2:].reshape(len(rows), len(self._known.infos), len(COLUMNS))
        return _history(infos, steps, rows[:, :2], values[:, places], dropped)

    def collect_histograms(self) -> Histograms:
        """The histograms of gradients taken since the last call."""
        if self._known is None or self._known.histograms is None:
            return rows_to_histograms([], np.zeros(0, np.int64), np.zeros((0, 0, 0)))
        steps, rows, _ = self._known.histograms.drain()
        values = rows[:, 1:].reshape(len(rows), len(self._known.infos), 2 + BINS)
        values[:, :, :2] /= rows[:, :1, np.newaxis]  # the ends of the range, unscaled
        names = [f"gradients/{info.path}" for info in self._known.infos]
        return rows_to_histograms(names, steps, values)

    def close(self) -> None:
        """Leave the optimizer as it was. What was measured can still be collected."""
        if self._open:
            self._detach()
            trace_again(self._model)

    def reopen(self) -> None:
        """Listen again after ``close``; whoever calls this also brings the traced step back."""
        self._open, self._hook = True, self._hooked()
        if self._known is not None:
            self._known.resume()

    def _hooked(self) -> ApplyHook:
        return ApplyHook(self._optimizer, self._guarded_before, self._guarded_after)

    def _know(self, variables: Sequence[Any]) -> _Known:
        if self._known is None:
            raw = [_raw(variable) for variable in variables]
            self._known = _Known.of(self._model, raw, self._schedules, self._capacity)
        return self._known

    def _detach(self) -> None:
        self._open = False
        self._hook.remove()
        if self._known is not None:
            self._known.stop()

    def _guarded_before(self, grads: Any, trainable_variables: Any = None) -> _Ticket | None:
        if not self._open:
            return None
        try:
            return self._before(grads, trainable_variables)
        except Exception as error:  # a probe must never break the training
            self._fail(error)
            return None

    def _guarded_after(self, ticket: _Ticket | None) -> None:
        if ticket is None:
            return
        try:
            self._after(ticket)
        except Exception as error:
            self._fail(error)

    def _fail(self, error: Exception) -> None:
        reraise_interrupt(error)
        first_line = (str(error).strip() or type(error).__name__).splitlines()[0]
        self.failed = f"the gradients probe failed: {first_line}"
        self._detach()

    def _before(self, grads: Sequence[Any], trainable_variables: Any) -> _Ticket:
        optimizer = self._optimizer
        given = trainable_variables
        all_variables = optimized_variables(optimizer)
        given = all_variables if given is None else list(given)
        known = self._know(all_variables or given)
        raw = [_raw(variable) for variable in given]
        places = known.places_of(raw)
        gradients = [_aligned(g, variable) for g, variable in zip(grads, raw, strict=True)]
        scale = tf.cast(_loss_scale(optimizer), tf.float64)
        known.write_histograms(gradients, places, scale)
        measured = known.rows.scheduled()
        loss = None if self._loss is None else self._loss.loss(raw, scale)
        loss = tf.constant(np.nan, tf.float64) if loss is None else tf.cast(loss, tf.float64)
        return _Ticket(known, measured, places, before_step(measured, gradients, raw), loss, scale)

    def _after(self, ticket: _Ticket) -> None:
        rows = ticket.known.rows

        def write() -> Any:
            values = ticket.known.in_order(after_step(ticket.parts), ticket.places)
            rows.write(tf.concat([[ticket.loss, ticket.scale], tf.reshape(values, [-1])], 0))
            return tf.constant(True)

        when(ticket.measured, write, lambda: tf.constant(False))
        rows.advance()


@dataclass(frozen=True)
class _Ticket:
    """What is carried from before the optimizer's step to after it."""

    known: _Known
    measured: Any
    places: Sequence[int]
    parts: Sequence[Part]
    loss: Any
    scale: Any


@dataclass(frozen=True)
class _Known:
    """The optimizer's variables, their places in a row, and the rings that hold the rows."""

    infos: list[VariableInfo]
    places: dict[Any, int]
    rows: Ring
    histograms: Ring | None
    seen: set[int] = field(default_factory=set)

    @classmethod
    def of(
        cls, model: Any, raw: Sequence[Any], schedules: tuple[Schedule, Schedule], capacity: int
    ) -> _Known:
        names = variable_paths(model)
        paths = {_raw(v).ref(): names[id(v)] for v in model.variables}
        position = {key: index for index, key in enumerate(paths)}
        # In the model's order, whatever the order is in which a training step names them.
        raw = sorted(raw, key=lambda v: position.get(v.ref(), len(position)))
        infos = [_info(v, *paths.get(v.ref(), ("", v.name.split(":")[0]))) for v in raw]
        rows = Ring(2 + len(COLUMNS) * len(raw), capacity, schedules[0])
        width = 1 + (2 + BINS) * len(raw)
        histograms = None
        if schedules[1] is not never:
            histograms = Ring(width, HISTOGRAM_CAPACITY, schedules[1])
        return cls(infos, {v.ref(): i for i, v in enumerate(raw)}, rows, histograms)

    def places_of(self, raw: Sequence[Any]) -> list[int]:
        """Where these variables stand; from now on they count as given."""
        unknown = [variable.name for variable in raw if variable.ref() not in self.places]
        if unknown:
            raise LookupError(f"{unknown[0]} came after the optimizer was built for others")
        places = [self.places[variable.ref()] for variable in raw]
        self.seen.update(places)
        return places

    def given(self) -> tuple[list[VariableInfo], list[int]]:
        """The variables that any step brought a gradient or a None for, and their places."""
        places = sorted(self.seen)
        return [self.infos[place] for place in places], places

    def in_order(self, values: Any, places: Sequence[int]) -> Any:
        """Rows of some variables as rows of all, nan for those that were not given."""
        if list(places) == list(range(len(self.infos))):
            return values
        gap = tf.constant(np.nan, tf.float64, [1, values.shape[1]])
        order = np.full(len(self.infos), len(places))
        order[list(places)] = np.arange(len(places))
        return tf.gather(tf.concat([values, gap], 0), order)

    def write_histograms(self, gradients: Sequence[Any], places: Sequence[int], scale: Any) -> None:
        ring = self.histograms
        if ring is None:
            return

        def write() -> Any:
            values = self.in_order(gradient_histograms(gradients), places)
            ring.write(tf.concat([[scale], tf.reshape(values, [-1])], 0))
            return tf.constant(True)

        when(ring.scheduled(), write, lambda: tf.constant(False))
        ring.advance()

    def stop(self) -> None:
        for ring in self._rings():
            ring.stop()

    def resume(self) -> None:
        for ring in self._rings():
            ring.resume()

    def _rings(self) -> list[Ring]:
        return [ring for ring in (self.rows, self.histograms) if ring is not None]


def _history(
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


def _optimizer_of(model: Any, optimizer: Any) -> Any:
    optimizer = getattr(model, "optimizer", None) if optimizer is None else optimizer
    if optimizer is None:
        raise ModelError(
            f"{model.name}: no optimizer to watch: compile the model, or name the optimizer"
        )
    if getattr(model, "compiled", False) and model.jit_compile:
        raise ModelError(
            f"{model.name}: gradients cannot be watched under XLA: compile with jit_compile=False"
        )
    strategy = getattr(model, "distribute_strategy", None) or tf.distribute.get_strategy()
    if strategy.num_replicas_in_sync > 1:
        raise ModelError(
            f"{model.name}: gradients cannot be watched on several replicas: train on one device"
        )
    return optimizer


def _loss_scale(optimizer: Any) -> Any:
    """By what the gradients are scaled that the optimizer is given now."""
    if isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
        return optimizer.dynamic_scale.value if optimizer.built else optimizer.initial_scale
    return optimizer.loss_scale_factor or 1.0


def _aligned(gradient: Any, variable: Any) -> Any:
    """The gradient as a tensor, or as slices that know the shape they are part of."""
    if isinstance(gradient, tf.IndexedSlices):
        shape = tf.constant(variable.shape.as_list(), gradient.indices.dtype)
        return tf.IndexedSlices(gradient.values, gradient.indices, shape)
    return None if gradient is None else tf.convert_to_tensor(gradient)


def _info(variable: Any, layer: str, path: str) -> VariableInfo:
    return VariableInfo(path, layer, tuple(variable.shape.as_list()), variable.dtype.name)


def _raw(variable: Any) -> Any:
    return variable.value if isinstance(variable, keras.Variable) else variable
