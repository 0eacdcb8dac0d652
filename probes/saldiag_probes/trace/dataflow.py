"""Dataflow between the operations of a traced graph."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from saldiag_probes.trace.recorder import Call, Trace


class Dataflow:
    """For every tensor of a forward pass: the paths of the nearest leaf calls upstream of it.

    One sweep over the operations in the order of their creation, in which each comes after what
    it needs: linear in the size of the graph.
    """

    def __init__(self, trace: Trace) -> None:
        self._made_by = {
            tensor.name: call.path for call in trace.calls if call.leaf for tensor in call.outputs
        }
        self._sources: dict[str, tuple[str, ...]] = {}
        model_inputs = {tensor.op.name for tensor in trace.inputs}
        for op in trace.operations():
            found = ("",) if op.name in model_inputs else self.union(op.inputs)
            self._sources[op.name] = found

    def union(self, tensors: Iterable[Any]) -> tuple[str, ...]:
        """The leaf calls that any of these tensors comes from."""
        parts = [part for tensor in tensors if (part := self.of(tensor))]
        if len(parts) <= 1:
            return parts[0] if parts else ()
        return tuple(dict.fromkeys(path for part in parts for path in part))

    def of(self, tensor: Any) -> tuple[str, ...]:
        """The leaf calls that a tensor comes from; ``""`` is the model's input."""
        maker = self._made_by.get(tensor.name)
        return self._sources.get(tensor.op.name, ()) if maker is None else (maker,)

    def is_given_by_leaf(self, tensor: Any) -> bool:
        """Whether it is the output of a leaf call itself."""
        return tensor.name in self._made_by

    def into(self, call: Call) -> tuple[str, ...]:
        """The leaf calls that feed ``call``; of one out of reach those of the layer around it."""
        if call.skipped is not None:
            return self.into(call.parent) if call.parent is not None else ("",)
        makers = zip(call.upstream, call.made_by, strict=True)
        found = [
            (maker,) if maker is not None else self.of(tensor)
            for tensor, maker in makers
            if not tensor.dtype.is_bool  # masks
        ]
        return tuple(dict.fromkeys(path for paths in found for path in paths))
