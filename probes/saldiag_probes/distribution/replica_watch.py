"""Watches one model train on several replicas.

Everything is computed in the training step, from tensors that it has anyway, for its first steps;
later steps only count their items. Python calls arrive while a step is traced (once per replica)
or, eagerly, in every step.
"""

from __future__ import annotations

import hashlib
import linecache
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from saldiag.core.interrupts import reraise_interrupt
from saldiag.core.keras_types import Gradient, KerasModel, KerasOptimizer, Tensor, TensorTree
from saldiag.core.measurement import Array, Distribution, LossTerm, Source, SummedMean
from saldiag.keras_internals.graphs import converted_lines
from saldiag.keras_internals.layers import flattened_layers, own_seed_states
from saldiag.keras_internals.variables import raw_variable
from saldiag_probes.distribution import replica_math
from saldiag_probes.distribution.loss_terms import (
    MAX_TERMS,
    LossParts,
    Reduction,
    derivative,
    find_reductions,
)
from saldiag_probes.distribution.program_text import may_weight_loss, replica_scaling
from saldiag_probes.distribution.replica_rows import ReplicaRows
from saldiag_probes.distribution.state_spread import replica_copies, state_spread
from saldiag_probes.hooks.replica_context import current_replica
from saldiag_probes.trace.paths import layer_paths

CAPACITY = 4
"""First steps that are measured in full."""

MAX_REMEMBERED = 4
"""Calls of the model and of tapes to remember in a step."""

MAX_TARGETS = 16
"""Targets of tapes to remember, of all replicas."""

Locate = Callable[[Iterable[Any]], Source | None]
"""The line of the user's code among the frames of a stack, from the outermost to the innermost."""

_COLUMNS = (
    "items", "sum", "weighted_sum", "loss", "penalty", "full_penalty", "norm", "largest_norm",
    "largest_value", "original_norm",
)  # fmt: skip
_OF_TERM = 3
"""Numbers per term: the sum of the derivatives, values per item, and the factor."""
_WIDTH = len(_COLUMNS) + _OF_TERM * MAX_TERMS
_TOTALS = np.array([np.inf, -np.inf, 0.0, 0.0])
"""Fewest and most items, steps without items, and those of them with a loss that is not finite."""


@dataclass(frozen=True)
class _Frame:
    """A frame of a stack."""

    filename: str
    """Path of its file."""
    lineno: int
    """Its line, from 1."""


@dataclass(frozen=True)
class _Taped:
    """One call of ``tape.gradient``."""

    target: Tensor | None
    """Its target, a single tensor; None for several."""
    gradients: list[Gradient]
    """What it returned, without None."""


@dataclass
class _Step:
    """The current step of one replica, as far as it has come."""

    inputs: list[list[Tensor]] = field(default_factory=list)
    """The tensors of the model's calls, the last one first."""
    tapes: list[_Taped] = field(default_factory=list)
    """The calls of tapes, the last one first."""
    summed: list[Tensor] = field(default_factory=list)
    """What the step's own sum over the replicas returned."""
    sums: int = 0
    """Sums over the replicas before the optimizer."""
    sum_source: Source | None = None
    """Line of the first of them."""
    passed: list[Tensor] = field(default_factory=list)
    """The gradients that the optimizer was given."""

    def usable_inputs(self) -> list[Tensor]:
        """The tensors of the last call of the model in the current graph; empty if unknown."""
        return next((tensors for tensors in self.inputs if _usable(tensors)), [])

    def tape_of(self, gradients: Sequence[Gradient]) -> _Taped | None:
        """The call of a tape that these gradients come from; None if it is unknown."""
        given = {id(_values(gradient)) for gradient in gradients}
        for taped in self.tapes:
            if any(id(_values(gradient)) in given for gradient in taped.gradients):
                return taped
        return next((t for t in self.tapes if _same_shapes(t.gradients, gradients)), None)


@dataclass
class _Replica:
    """What is known of one replica."""

    rows: ReplicaRows
    """Its numbers."""
    step: _Step = field(default_factory=_Step)
    """Its current step."""
    parts: LossParts = field(default_factory=LossParts)
    """The reductions of its loss, of the last trace."""
    reason: str = ""
    """Why there are none."""


@dataclass(frozen=True)
class _Known:
    """What a row is computed from."""

    scale: Tensor
    """The loss scale."""
    loss: Tensor | None
    """The unscaled loss; None if unknown."""
    full_penalty: Tensor
    """Sum of the weights' regularizers."""
    inputs: list[Tensor]
    """The model's inputs; empty if unknown."""
    passed: list[Gradient]
    """The gradients that the optimizer was given."""
    original: list[Gradient]
    """Those that they were made from; empty if unknown."""


def _row(known: _Known, items: Tensor, terms: Sequence[Tensor]) -> Tensor:
    """The numbers of a step, in the order of ``_COLUMNS``, then those of the terms.

    The first of ``terms`` is the penalty.
    """
    norm, largest_norm, largest = replica_math.gradient_sizes(known.passed)
    original_norm = replica_math.gradient_sizes(known.original)[0]
    nan = replica_math.number(np.nan)
    numbers = [
        items,
        *replica_math.fingerprint(known.inputs),
        nan if known.loss is None else known.loss,
        terms[0],
        known.full_penalty,
        norm / known.scale,
        largest_norm / known.scale,
        largest / known.scale,
        original_norm / known.scale,
        *terms[1:],
    ]
    return tf.stack([*numbers, *[nan] * (_WIDTH - len(numbers))])


class ReplicaWatch:
    """Measures the training of one model on several replicas.

    The methods ``on_...`` are called in replica context, in the thread of the replica. An error in
    here never reaches the training: it ends the measurement, and ``failed`` holds the reason.

    Args:
        model: the model.
        locate: finds the user's line in a stack.
    """

    def __init__(self, model: KerasModel, locate: Locate) -> None:
        self.model = model
        self.failed: str | None = None
        self._locate = locate
        self._strategy: Any = None
        self._replicas: dict[int, _Replica] = {}
        self._optimizers: list[KerasOptimizer] = []
        self._relations: ReplicaRows | None = None
        self._sums_in_optimizer: int | None = None
        self._sums_in_step: int | None = None
        self._sum_source: Source | None = None
        self._clip_source: Source | None = None
        self._step_source: Source | None = None
        self._summed_means: list[_SummedValue] = []
        self._targets: list[Tensor] = []
        self._items: int | None = None
        self._original_lines: dict[tuple[str, int], tuple[str, int]] = {}
        self._digest = ""

    # Events

    def on_model_call(self, inputs: TensorTree) -> None:
        """The model is called on a replica's items."""
        self._guarded(lambda replica: self._note_inputs(replica, inputs))

    def on_tape_gradient(self, target: Any, gradients: Any) -> None:
        """A tape computed ``gradients`` of ``target``."""
        self._guarded(lambda replica: self._note_tape(replica, target, gradients))

    def on_all_reduce(self, operation: Any, value: Any, result: Any, *, in_optimizer: bool) -> None:
        """The replicas reduced ``value`` to ``result``."""
        self._guarded(
            lambda replica: self._note_all_reduce(replica, operation, value, result, in_optimizer)
        )

    def on_step_gradients(
        self, optimizer: KerasOptimizer, gradients: Sequence[Gradient], variables: Sequence[Any]
    ) -> None:
        """The optimizer is about to apply a replica's gradients."""
        self._guarded(lambda replica: self._measure_step(replica, optimizer, gradients, variables))

    def on_step_end(self) -> None:
        """The optimizer has applied a replica's gradients."""
        self._guarded(self._end_step)

    def on_reduce(self, operation: Any, value: Any, axis: Any, result: Any) -> None:
        """``strategy.reduce``, outside of the replicas."""
        if self.failed is None and self._strategy is not None:
            try:
                self._note_reduce(operation, value, axis, result)
            except Exception as error:  # a probe must never break the training
                self._record_failure(error)

    # While a step runs or is traced

    def _guarded(self, action: Callable[[_Replica], None]) -> None:
        context = tf.distribute.get_replica_context()
        if self.failed is not None or context is None:
            return
        try:
            replica = self._replica_of(context)
            if replica is not None:
                action(replica)
        except Exception as error:  # a probe must never break the training
            self._record_failure(error)

    def _record_failure(self, error: Exception) -> None:
        reraise_interrupt(error)
        first_line = (str(error).strip() or type(error).__name__).splitlines()[0]
        self.failed = f"the replicas probe failed: {first_line}"

    def _replica_of(self, context: Any) -> _Replica | None:
        """The replica of a context; None on one device."""
        strategy = context.strategy
        processes = _processes(strategy)
        if strategy.num_replicas_in_sync < 2 and processes < 2:
            return None
        number = tf.get_static_value(context.replica_id_in_sync_group)
        if number is None:
            return None
        if self._strategy is None:
            self._strategy = strategy
            if processes > 1:
                with tf.init_scope():
                    self._digest = _digest(self.model)
        number = int(number)
        if number not in self._replicas:
            rows = ReplicaRows(_WIDTH, _TOTALS, CAPACITY, _device_of(context, number))
            self._replicas[number] = _Replica(rows)
        return self._replicas[number]

    def _note_inputs(self, replica: _Replica, inputs: TensorTree) -> None:
        tensors = [t for t in tf.nest.flatten(inputs) if tf.is_tensor(t) and t.shape.rank]
        replica.step.inputs = [tensors, *replica.step.inputs[: MAX_REMEMBERED - 1]]

    def _note_tape(self, replica: _Replica, target: Any, gradients: Any) -> None:
        tensors = [t for t in tf.nest.flatten(target) if tf.is_tensor(t)]
        self._original_lines.update(converted_lines())
        taped = _Taped(
            tensors[0] if len(tensors) == 1 else None,
            [g for g in tf.nest.flatten(gradients) if g is not None],
        )
        replica.step.tapes = [taped, *replica.step.tapes[: MAX_REMEMBERED - 1]]

    def _note_all_reduce(
        self, replica: _Replica, operation: Any, value: Any, result: Any, in_optimizer: bool
    ) -> None:
        if not _is_sum(operation):
            return
        reduced = [t for t in tf.nest.flatten(value) if t is not None]
        step = replica.step
        if in_optimizer:
            if _same_shapes(reduced, step.passed):
                self._sums_in_optimizer = 1
        elif reduced and step.tape_of(reduced) is not None:
            step.sums += 1
            step.summed = [t for t in tf.nest.flatten(result) if t is not None]
            step.sum_source = step.sum_source or self._line_of(step.summed[0])

    def _measure_step(
        self,
        replica: _Replica,
        optimizer: KerasOptimizer,
        gradients: Sequence[Gradient],
        variables: Sequence[Any],
    ) -> None:
        if not self._is_of_model(variables):
            return
        if not any(optimizer is known for known in self._optimizers):
            self._optimizers.append(optimizer)
        if optimizer is not self._optimizers[0]:
            return
        step = replica.step
        step.passed = [g for g in gradients if g is not None]
        self._note_aggregation(step)
        taped = step.tape_of(step.passed)
        if taped is None and step.summed:
            taped = step.tape_of(step.summed)
        target = taped.target if taped is not None else None
        scale = replica_math.loss_scale(optimizer)
        loss = None
        if target is not None and _usable([target]):
            loss = tf.cast(tf.reduce_sum(target), tf.float64) / scale
            self._targets = [*self._targets[1 - MAX_TARGETS :], target]
        inputs = step.usable_inputs()
        make_terms = self._find_terms(replica, target, inputs, scale)
        original = step.summed or (taped.gradients if taped is not None else [])
        known = _Known(
            scale,
            loss,
            replica_math.full_penalty(self.model),
            inputs,
            step.passed,
            original if _usable(original) else [],
        )
        items = replica_math.item_count(inputs)
        # What the row is made of is looked up here: inside, in a branch, the graph is another.
        replica.rows.write(lambda: _row(known, items, make_terms(items)))
        replica.rows.advance(lambda totals: replica_math.updated_totals(totals, items, loss))
        self._relate_replicas()

    def _is_of_model(self, variables: Sequence[Any]) -> bool:
        """Whether the optimizer updates variables of the model; True if it is not said which."""
        own = {id(raw_variable(variable)) for variable in self.model.variables}
        return not variables or any(id(raw_variable(variable)) in own for variable in variables)

    def _note_aggregation(self, step: _Step) -> None:
        """How the gradients were summed and clipped before the optimizer got them."""
        self._sums_in_optimizer = self._sums_in_optimizer or 0
        self._sums_in_step = max(self._sums_in_step or 0, step.sums)
        self._sum_source = self._sum_source or step.sum_source
        clipped = replica_math.clipping_operation(step.passed)
        if clipped is not None and self._clip_source is None:
            self._clip_source = self._locate(self._original_frames(clipped.traceback))

    def _find_terms(
        self, replica: _Replica, target: Tensor | None, inputs: Sequence[Tensor], scale: Tensor
    ) -> Callable[[Tensor], list[Tensor]]:
        """A function that returns the penalty and the numbers of each term, given the items.

        The derivatives are computed at once: the function runs in a branch, in another graph.
        """
        nan = replica_math.number(np.nan)
        if target is None or not tf.is_symbolic_tensor(target) or not _usable([target]):
            replica.reason = _why_unknown(target)
            return lambda _: [nan]
        self._items = inputs[0].shape[0] if inputs else None
        parts = find_reductions(target, self._items)
        if not replica.parts.reductions:  # a later trace, of a smaller batch, finds the same
            replica.parts, replica.reason = parts, ""
        of_items = [r for r in parts.reductions if r.of_items][:MAX_TERMS]
        penalties = [r for r in parts.reductions if not r.of_items]
        penalty = replica_math.number(0.0)
        for reduction in penalties:
            factor = derivative(target, reduction.result)
            if factor is not None:
                value = tf.cast(factor * reduction.result, tf.float64)
                penalty += tf.reduce_sum(value) / scale
        found: list[tuple[Tensor, Tensor, Tensor]] = []
        for reduction in of_items:
            by_values = derivative(target, reduction.values)
            by_result = derivative(target, reduction.result)
            if by_values is None or by_result is None:
                found.append((nan, nan, nan))
                continue
            found.append(
                (
                    tf.reduce_sum(tf.cast(by_values, tf.float64)) / scale,
                    tf.cast(tf.size(reduction.values), tf.float64),
                    tf.reduce_mean(tf.cast(by_result, tf.float64)) / scale,
                )
            )

        def numbers(items: Tensor) -> list[Tensor]:
            each = [(weight, size / items, factor) for weight, size, factor in found]
            return [penalty, *[value for term in each for value in term]]

        return numbers

    def _relate_replicas(self) -> None:
        """In the last replica, relate the gradients of all, where that costs no transfer."""
        strategy = self._strategy
        count = strategy.num_replicas_in_sync
        replicas = [self._replicas.get(number) for number in range(count)]
        if current_replica() != count - 1 or any(replica is None for replica in replicas):
            return
        context = tf.distribute.get_replica_context()
        devices = [str(device) for device in strategy.extended.worker_devices]
        if _processes(strategy) > 1 or not all("CPU" in device.upper() for device in devices):
            return
        gradients = [replica.step.passed for replica in replicas if replica is not None]
        if not all(gradients) or not all(_usable(some) for some in gradients):
            return
        if not all(_same_shapes(some, gradients[0]) for some in gradients):
            return
        if self._relations is None:
            device = _device_of(context, count - 1)
            self._relations = ReplicaRows(2, np.zeros(1), CAPACITY, device)
        scale = replica_math.loss_scale(self._optimizers[0])
        self._relations.write(lambda: replica_math.relation(gradients, scale))
        self._relations.advance(lambda totals: totals)

    def _end_step(self, replica: _Replica) -> None:
        replica.step = _Step()

    def _note_reduce(self, operation: Any, value: Any, axis: Any, result: Any) -> None:
        values = self._strategy.experimental_local_results(value)
        if not _is_sum(operation) or axis is not None or len(values) < 2:
            return
        if not all(tf.is_symbolic_tensor(v) and v.shape.rank == 0 for v in values):
            return
        if not tf.is_symbolic_tensor(result) or not _usable(values):
            return
        weight = replica_math.number(0.0)
        for one in values:
            mean = _only_mean(find_reductions(one, self._items))
            by_values = None if mean is None else derivative(one, mean.values)
            if by_values is None:
                return
            weight += tf.reduce_sum(tf.cast(by_values, tf.float64))
        rows = ReplicaRows(1, np.zeros(1), CAPACITY, "CPU:0")
        rows.write(lambda: weight)
        rows.advance(lambda totals: totals)
        is_loss = any(one is target for one in values for target in self._targets)
        self._summed_means.append(_SummedValue(rows, result, self._line_of(result), is_loss))

    def _line_of(self, tensor: Tensor) -> Source | None:
        if not tf.is_symbolic_tensor(tensor):
            return None
        return self._locate(self._original_frames(tensor.op.traceback))

    def _original_frames(self, frames: Iterable[Any]) -> list[_Frame]:
        """Frames of a stack, with the original lines of code that AutoGraph converted."""
        places = ((frame.filename, frame.lineno) for frame in frames)
        return [_Frame(*self._original_lines.get(place, place)) for place in places]

    # After the training

    @property
    def replicas_seen(self) -> bool:
        """Whether a step on several replicas or in several processes was seen."""
        return bool(self._replicas)

    def collect(self) -> Distribution:
        """What was measured; an empty measurement on one device."""
        if not self._replicas or self._strategy is None:
            return Distribution()
        strategy = self._strategy
        replicas = [self._replicas[number] for number in sorted(self._replicas)]
        rows = _stacked([replica.rows.rows() for replica in replicas])
        totals = np.array([replica.rows.totals() for replica in replicas])
        columns = {name: rows[:, :, index] for index, name in enumerate(_COLUMNS)}
        terms = self._terms(rows, columns["items"])
        relations = np.zeros((0, 2)) if self._relations is None else self._relations.rows()
        optimizer = self._optimizers[0] if self._optimizers else None
        clipping, limit = _clipping_of(optimizer)
        random_layers, equal = self._seeds()
        text = replica_scaling(self._step_file(replicas))
        return Distribution(
            strategy=type(strategy).__name__,
            replicas=int(strategy.num_replicas_in_sync),
            processes=_processes(strategy),
            steps=replicas[0].rows.steps,
            items=columns["items"],
            fewest_items=totals[:, 0],
            most_items=totals[:, 1],
            empty_steps=totals[:, 2],
            empty_nonfinite=totals[:, 3],
            fingerprints=np.stack([columns["sum"], columns["weighted_sum"]], axis=-1),
            loss=columns["loss"],
            terms=terms,
            terms_missing="" if terms else _reason(replicas[0]),
            penalty=columns["penalty"],
            full_penalty=columns["full_penalty"],
            penalty_source=self._penalty_source(replicas[0]),
            gradient_norm=columns["norm"],
            largest_norm=columns["largest_norm"],
            largest_value=columns["largest_value"],
            gradient_factor=_median_ratio(columns["norm"], columns["original_norm"]),
            sum_norm=relations[:, 0],
            cosine=relations[:, 1],
            sums_in_step=self._sums_in_step,
            sums_in_optimizer=self._sums_in_optimizer,
            sum_source=self._sum_source,
            spread=state_spread(
                strategy,
                self.model,
                self._optimizers,
                float(np.nanmin(columns["items"], initial=np.inf)),
            ),
            clipping=clipping,
            clip_limit=limit,
            clip_source=self._clip_source,
            optimizer=type(optimizer).__name__ if optimizer is not None else "",
            learning_rate=_rate_of(optimizer),
            batch_scaled=self._line(text.batch),
            rate_scaled=text.rate_scaled,
            rate_source=self._line(text.rate),
            summed_means=self._collected_means(),
            random_layers=random_layers,
            equal_seeds=equal,
            weight_digests=(self._digest,) if self._digest else (),
        )

    def _terms(self, rows: Array, items: Array) -> tuple[LossTerm, ...]:
        """The terms of the loss; their weights are of the steps with an even split."""
        first = self._replicas[min(self._replicas)].parts.reductions
        of_items = [r for r in first if r.of_items][:MAX_TERMS]
        count = int(self._strategy.num_replicas_in_sync)
        even = (items == items[:, :1]).all(axis=1) & (items > 0).all(axis=1)
        found = []
        for index, reduction in enumerate(of_items):
            start = len(_COLUMNS) + _OF_TERM * index
            weight, size, factor = np.moveaxis(rows[even, :, start : start + _OF_TERM], -1, 0)
            source = self._line_of(reduction.result)
            found.append(
                LossTerm(
                    _mean(weight.mean(axis=1)) * count,
                    _mean(size),
                    reduction.averaged,
                    _mean(factor[:, 0]) if factor.size else float("nan"),
                    self._may_be_weighted(reduction, count),
                    source,
                )
            )
        return tuple(found)

    def _may_be_weighted(self, reduction: Reduction, replicas: int) -> bool:
        """Whether a line between the reduction and the loss can multiply by a weight."""
        sources = [
            self._locate(self._original_frames(operation.traceback))
            for operation in reduction.scalings
        ]
        return any(source is None or may_weight_loss(source, replicas) for source in sources)

    def _penalty_source(self, replica: _Replica) -> Source | None:
        penalties = [r for r in replica.parts.reductions if not r.of_items]
        return self._line_of(penalties[0].result) if penalties else None

    def _seeds(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """The layers with a seed generator, and those with equal states in all replicas."""
        paths = layer_paths(self.model)
        random, equal = [], []
        for layer in flattened_layers(self.model):
            states = own_seed_states(layer)
            copies = [replica_copies(self._strategy, state) for state in states]
            # The last number of a state counts the draws: an RNN has a generator and may not draw.
            drawn = [some for some in copies if any(copy[-1] for copy in some)]
            if not drawn or len(drawn[0]) < 2:
                continue
            path = paths.get(id(layer), layer.name)
            random.append(path)
            if all(np.array_equal(some[0], copy) for some in drawn for copy in some[1:]):
                equal.append(path)
        return tuple(random), tuple(equal)

    def _collected_means(self) -> tuple[SummedMean, ...]:
        found = []
        for value in self._summed_means:
            rows = value.rows.rows()
            if len(rows):
                factor = replica_math.constant_factor(value.result)
                found.append(SummedMean(value.source, _mean(rows) * factor, value.is_loss))
        return tuple(found)

    def _step_file(self, replicas: Sequence[_Replica]) -> str:
        """The file of the program; empty if unknown."""
        reductions = replicas[0].parts.reductions
        source = self._line_of(reductions[0].result) if reductions else None
        self._step_source = source
        return source.file if source is not None else ""

    def _line(self, number: int) -> Source | None:
        if not number or self._step_source is None:
            return None
        text = linecache.getline(str(Path.cwd() / self._step_source.file), number)
        return Source(self._step_source.file, number, text.strip())


@dataclass(frozen=True)
class _SummedValue:
    """A mean that ``strategy.reduce`` sums."""

    rows: ReplicaRows
    """Its weight."""
    result: Tensor
    """The sum."""
    source: Source | None
    """Line of the call."""
    is_loss: bool
    """Whether the tape's target is summed."""


def _only_mean(parts: LossParts) -> Reduction | None:
    """The mean over items that a value is made of; None if it is made of anything else."""
    of_items = [r for r in parts.reductions if r.of_items and r.averaged]
    return of_items[0] if len(of_items) == 1 and len(parts.reductions) == 1 else None


def _why_unknown(target: Tensor | None) -> str:
    if target is None:
        return "no single tensor is the target of a tape"
    return "the step runs eagerly" if tf.executing_eagerly() else "it is computed in another graph"


def _device_of(context: Any, number: int) -> str:
    """The device of a replica; a process of several lists its own devices only."""
    devices = [str(device) for device in context.strategy.extended.worker_devices]
    return devices[number % len(devices)]


def _processes(strategy: Any) -> int:
    """Number of processes that train together."""
    resolver = getattr(strategy, "cluster_resolver", None)
    spec = resolver.cluster_spec().as_dict() if resolver is not None else {}
    return max(1, sum(len(spec.get(job, ())) for job in ("chief", "worker")))


def _usable(tensors: Sequence[Any]) -> bool:
    """Whether the current graph (or eager code) can compute with all of these tensors."""
    if tf.executing_eagerly():
        return not any(_is_symbolic(tensor) for tensor in tensors)
    graph = tf.compat.v1.get_default_graph()
    return all(not _is_symbolic(tensor) or _values(tensor).graph is graph for tensor in tensors)


def _is_symbolic(tensor: Any) -> bool:
    return bool(tf.is_symbolic_tensor(_values(tensor)))


def _values(tensor: Any) -> Any:
    return tensor.values if isinstance(tensor, tf.IndexedSlices) else tensor


def _is_sum(operation: Any) -> bool:
    return str(getattr(operation, "value", operation)).upper() == "SUM"


def _same_shapes(some: Sequence[Any], others: Sequence[Any]) -> bool:
    """Whether two lists of gradients have the same shapes, in any order; slices fit any shape."""
    shapes, of_others = Counter(map(_shape, some)), Counter(map(_shape, others))
    sliced = max(shapes.pop(None, 0), of_others.pop(None, 0))
    return bool(some) and len(some) == len(others) and (shapes - of_others).total() <= sliced


def _shape(tensor: Any) -> str | None:
    return None if isinstance(tensor, tf.IndexedSlices) else str(tensor.shape)


def _stacked(rows: Sequence[Array]) -> Array:
    """Rows of each replica as (steps, replicas, numbers): those that all of them have."""
    steps = min(len(some) for some in rows)
    return np.stack([some[:steps] for some in rows], axis=1)


def _mean(values: Array) -> float:
    return float(np.mean(values)) if np.size(values) else float("nan")


def _median_ratio(norms: Array, originals: Array) -> float:
    known = np.isfinite(norms) & np.isfinite(originals) & (originals > 0)
    return float(np.median(norms[known] / originals[known])) if known.any() else float("nan")


def _reason(replica: _Replica) -> str:
    if replica.reason:
        return f"the scale of the loss is unknown: {replica.reason}"
    stops = ", ".join(sorted(replica.parts.unknown)) or "a constant"
    return f"the scale of the loss is unknown: it is computed by {stops}"


def _clipping_of(optimizer: Any) -> tuple[str, float]:
    """The clipping argument of the optimizer, or of the one inside a wrapper, and its value."""
    inner = getattr(optimizer, "inner_optimizer", optimizer)
    for name in ("clipnorm", "clipvalue", "global_clipnorm"):
        limit = getattr(inner, name, None)
        if limit is not None and limit > 0:
            return name, float(limit)
    return "", float("nan")


def _rate_of(optimizer: Any) -> float:
    try:
        return float(keras.ops.convert_to_numpy(optimizer.learning_rate))
    except (AttributeError, TypeError, ValueError):
        return float("nan")


def _digest(model: KerasModel) -> str:
    """SHA-256 of the weights of the first local replica."""
    digest = hashlib.sha256()
    for weight in model.weights:
        digest.update(np.ascontiguousarray(weight.numpy()).tobytes())
    return digest.hexdigest()
