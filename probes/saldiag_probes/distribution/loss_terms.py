"""The reductions that make a replica's loss out of values per item, found in the step's graph.

The search starts at the target of the tape and walks backwards through sums, products and casts to
the first reduction over items. What is found are tensors of the same graph, hence so are the
derivatives by them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import tensorflow as tf

from saldiag.core.keras_types import GraphOperation, Tensor

MAX_TERMS = 4
"""Reductions of one loss that are measured."""

_PASSING = frozenset({
    "Cast", "CheckNumerics", "EnsureShape", "ExpandDims", "Identity", "Neg",
    "PreventGradient", "Reshape", "Snapshot", "Squeeze",
})  # fmt: skip
"""Operations whose result is their first input (or, up to its sign, a copy of it)."""
_SCALING = frozenset({"Div", "DivNoNan", "Mul", "RealDiv"})
_REDUCTIONS = frozenset({"L2Loss", "Mean", "Sum"})
_WAYS: dict[str, Callable[[Tensor], Sequence[Tensor]]] = {
    **dict.fromkeys(_PASSING, lambda tensor: tensor.op.inputs[:1]),
    **dict.fromkeys(("Add", "AddN", "AddV2", "Mul", "Pack", "Sub"), lambda t: t.op.inputs),
    **dict.fromkeys(("Div", "DivNoNan", "RealDiv"), lambda t: t.op.inputs[:1]),
    **dict.fromkeys(("Select", "SelectV2"), lambda t: t.op.inputs[1:]),
    "IdentityN": lambda tensor: tensor.op.inputs[tensor.value_index : tensor.value_index + 1],
}
"""By the type of an operation: its inputs that reach the loss through it."""
_OF_WEIGHTS = frozenset({"Const", "ReadVariableOp", "VarHandleOp"})
"""Operations without data of the batch, at which a search for items ends."""


@dataclass(frozen=True)
class Reduction:
    """A reduction on the way from the items to the loss."""

    values: Tensor
    """The tensor that is reduced."""
    result: Tensor
    """Its reduction."""
    averaged: bool
    """Whether only means lie between ``values`` and the loss."""
    of_items: bool
    """Whether the values depend on the batch; otherwise they come from the weights alone."""
    scalings: tuple[Any, ...] = ()
    """Products and quotients between the reduction and the loss."""


@dataclass
class LossParts:
    """What a search found."""

    reductions: list[Reduction] = field(default_factory=list)
    """The reductions, in the order of the search."""
    unknown: set[str] = field(default_factory=set)
    """Types of the operations at which the search had to stop."""


def find_reductions(target: Tensor, items: int | None) -> LossParts:
    """The reductions over items and over weights that a loss is made of.

    Args:
        target: the loss, symbolic.
        items: number of items of the batch; None if the graph does not fix it.
    """
    search = _Search(items)
    search.visit(target, averaged=True, scalings=())
    return search.found


def derivative(of: Tensor, by: Tensor) -> Tensor | None:
    """Derivative of a scalar by a tensor of the same graph, as a dense tensor; None without one."""
    found = tf.gradients([of], [by])[0]
    return None if found is None else tf.convert_to_tensor(found)


class _Search:
    def __init__(self, items: int | None) -> None:
        self.found = LossParts()
        self._items = items
        self._seen: set[str] = set()
        self._from_batch: dict[str, bool] = {}

    def visit(
        self, tensor: Tensor, *, averaged: bool, scalings: tuple[GraphOperation, ...]
    ) -> None:
        if tensor.name in self._seen:
            return
        self._seen.add(tensor.name)
        op = tensor.op
        if self._is_per_item(tensor):
            # The target is a tensor with a value per item: the tape sums it.
            self._add(tensor, tensor, averaged=False, scalings=scalings)
        elif op.type in _REDUCTIONS:
            self._visit_reduction(tensor, averaged=averaged, scalings=scalings)
        elif op.type in _WAYS:
            scalings = (*scalings, op) if op.type in _SCALING else scalings
            for part in _WAYS[op.type](tensor):
                self.visit(part, averaged=averaged, scalings=scalings)
        elif self._depends_on_batch(op):
            self.found.unknown.add(op.type)

    def _visit_reduction(
        self, tensor: Tensor, *, averaged: bool, scalings: tuple[GraphOperation, ...]
    ) -> None:
        op = tensor.op
        values = op.inputs[0]
        averaged = averaged and (op.type == "Mean" or values.op.type == "Pack")
        if not self._depends_on_batch(values.op) or self._is_per_item(values):
            self._add(values, tensor, averaged=averaged, scalings=scalings)
        elif values.shape.rank is None:
            self.found.unknown.add(op.type)
        else:
            self.visit(values, averaged=averaged, scalings=scalings)

    def _add(
        self,
        values: Tensor,
        result: Tensor,
        *,
        averaged: bool,
        scalings: tuple[GraphOperation, ...],
    ) -> None:
        of_items = self._depends_on_batch(values.op)
        self.found.reductions.append(Reduction(values, result, averaged, of_items, scalings))

    def _is_per_item(self, tensor: Tensor) -> bool:
        """Whether the first axis of a tensor goes over the items (or items times positions)."""
        if not tensor.shape.rank or not self._depends_on_batch(tensor.op):
            return False
        size = tensor.shape[0]
        if self._items is None or size is None:
            return size is None
        return self._items > 0 and size >= self._items and size % self._items == 0

    def _depends_on_batch(self, op: GraphOperation) -> bool:
        """Whether an operation depends on anything but weights and constants."""
        known = self._from_batch.get(op.name)
        if known is None:
            known = self._from_batch[op.name] = _reaches_data(op)
        return known


def _reaches_data(op: GraphOperation) -> bool:
    waiting: list[Any] = [op]
    seen = {op.name}
    while waiting:
        current = waiting.pop()
        if current.type in _OF_WEIGHTS or _is_resource(current):
            continue
        if not current.inputs:
            return True
        for tensor in current.inputs:
            if tensor.op.name not in seen:
                seen.add(tensor.op.name)
                waiting.append(tensor.op)
    return False


def _is_resource(op: GraphOperation) -> bool:
    """Whether an operation is an argument of the graph that holds a variable."""
    outputs: Sequence[Tensor] = op.outputs
    return bool(outputs) and all(tensor.dtype == tf.resource for tensor in outputs)
