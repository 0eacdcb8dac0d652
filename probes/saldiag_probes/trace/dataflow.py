"""Dataflow between the layer calls of a traced graph."""

from __future__ import annotations

from collections.abc import Iterable

from saldiag.core.keras_types import Tensor
from saldiag_probes.trace.calls import Trace, TracedCall


class Dataflow:
    """For every tensor of a forward pass the paths of the nearest leaf calls upstream of it.

    One sweep over the operations in the order of their creation, in which every operation comes
    after its inputs: linear in the size of the graph.
    """

    def __init__(self, trace: Trace) -> None:
        self._producers = {
            tensor.name: call.path for call in trace.calls if call.leaf for tensor in call.outputs
        }
        self._sources: dict[str, tuple[str, ...]] = {}
        model_inputs = {tensor.op.name for tensor in trace.inputs}
        for op in trace.operations():
            found = ("",) if op.name in model_inputs else self.sources_of_any(op.inputs)
            self._sources[op.name] = found

    def sources_of_any(self, tensors: Iterable[Tensor]) -> tuple[str, ...]:
        """Paths of the nearest leaf calls upstream of any of the tensors, without duplicates."""
        parts = [part for tensor in tensors if (part := self.sources_of(tensor))]
        if len(parts) <= 1:
            return parts[0] if parts else ()
        return tuple(dict.fromkeys(path for part in parts for path in part))

    def sources_of(self, tensor: Tensor) -> tuple[str, ...]:
        """Paths of the nearest leaf calls upstream of a tensor; ``""`` is the model's input."""
        producer = self._producers.get(tensor.name)
        return self._sources.get(tensor.op.name, ()) if producer is None else (producer,)

    def is_leaf_output(self, tensor: Tensor) -> bool:
        """Whether a leaf call returned this very tensor."""
        return tensor.name in self._producers

    def sources_of_call(self, call: TracedCall) -> tuple[str, ...]:
        """Paths of the leaf calls that feed ``call``, masks excluded.

        For a skipped call they are those of the layer around it.
        """
        if call.skipped is not None:
            return self.sources_of_call(call.parent) if call.parent is not None else ("",)
        producers = zip(call.upstream, call.made_by, strict=True)
        found = [
            (producer,) if producer is not None else self.sources_of(tensor)
            for tensor, producer in producers
            if not tensor.dtype.is_bool  # a mask is no data
        ]
        return tuple(dict.fromkeys(path for paths in found for path in paths))
