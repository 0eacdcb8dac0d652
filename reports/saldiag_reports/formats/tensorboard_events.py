"""TensorBoard's event records without TensorFlow: its own protocol buffers and record format.

Only modules of TensorBoard that leave TensorFlow alone are imported, even where it is installed:
``tensorboard.compat.tf`` would load it on first use, the protocol buffers and plugin metadata do
not touch it.
"""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from tensorboard.compat.proto import event_pb2, summary_pb2, tensor_pb2, types_pb2
from tensorboard.plugins.histogram import metadata as histogram_metadata
from tensorboard.plugins.image import metadata as image_metadata
from tensorboard.plugins.scalar import metadata as scalar_metadata
from tensorboard.plugins.text import metadata as text_metadata
from tensorboard.summary.writer.record_writer import RecordWriter

Array = np.ndarray[Any, Any]
MAX_TAG = 200
_TAG = re.compile(r"[^\w\-./ ()|#]", re.ASCII)
_MARKDOWN = re.compile(r"([\\`*_{}\[\]()#+\-.!|<>~&$])")


@dataclass
class EventLog:
    """Collects summaries and gives them as the bytes of one event file.

    Every record has the same ``wall_time``, so that the same run gives the same bytes.
    """

    wall_time: float = 0.0
    _records: list[bytes] = field(default_factory=list)
    _tags: dict[str, str] = field(default_factory=dict)
    _taken: set[str] = field(default_factory=set)

    def scalar(self, tag: str, step: int, value: float) -> None:
        """Add a number; one that is missing (NaN) is left out, an infinite one is kept."""
        if not np.isnan(value):
            tensor = tensor_pb2.TensorProto(dtype=types_pb2.DT_FLOAT, float_val=[_float32(value)])
            self._add(tag, step, tensor, scalar_metadata.create_summary_metadata("", ""))

    def histogram(self, tag: str, step: int, counts: Array, edges: Array) -> None:
        """Add bins: ``counts`` (B) between ``edges`` (B + 1), as TensorBoard's (B, 3) tensor."""
        edges = np.nan_to_num(np.asarray(edges, dtype=np.float64))
        bins = np.stack([edges[:-1], edges[1:], np.asarray(counts, dtype=np.float64)], axis=1)
        tensor = tensor_pb2.TensorProto(
            dtype=types_pb2.DT_DOUBLE, tensor_content=np.ascontiguousarray(bins, "<f8").tobytes()
        )
        for length in bins.shape:
            tensor.tensor_shape.dim.add(size=length)
        self._add(tag, step, tensor, histogram_metadata.create_summary_metadata("", ""))

    def image(self, tag: str, step: int, width: int, height: int, encoded: bytes) -> None:
        """Add one PNG picture."""
        parts = [str(width).encode(), str(height).encode(), encoded]
        tensor = tensor_pb2.TensorProto(dtype=types_pb2.DT_STRING, string_val=parts)
        tensor.tensor_shape.dim.add(size=len(parts))
        self._add(tag, step, tensor, image_metadata.create_summary_metadata("", ""))

    def text(self, tag: str, step: int, markdown: str) -> None:
        """Add a text, which TensorBoard reads as Markdown."""
        tensor = tensor_pb2.TensorProto(
            dtype=types_pb2.DT_STRING, string_val=[markdown.encode("utf-8", "backslashreplace")]
        )
        self._add(tag, step, tensor, text_metadata.create_summary_metadata("", ""))

    def to_bytes(self) -> bytes:
        """The event file: a version record, then every summary in the order it was added."""
        buffer = io.BytesIO()
        writer = RecordWriter(buffer)
        first = event_pb2.Event(wall_time=self.wall_time, file_version="brain.Event:2")
        writer.write(first.SerializeToString(deterministic=True))
        for record in self._records:
            writer.write(record)
        return buffer.getvalue()

    def _add(self, tag: str, step: int, tensor: Any, metadata: Any) -> None:
        value = summary_pb2.Summary.Value(tag=self.tag(tag), tensor=tensor, metadata=metadata)
        event = event_pb2.Event(
            wall_time=self.wall_time, step=int(step), summary=summary_pb2.Summary(value=[value])
        )
        self._records.append(event.SerializeToString(deterministic=True))

    def tag(self, name: str) -> str:
        """A safe tag for ``name``: the same each time, and no two names share one."""
        if name not in self._tags:
            base = _TAG.sub("_", name).strip("/ ")[:MAX_TAG] or "_"
            unique, number = base, 2
            while unique in self._taken:
                unique, number = f"{base}#{number}", number + 1
            self._taken.add(unique)
            self._tags[name] = unique
        return self._tags[name]


def _float32(value: float) -> float:
    """What a float32 can hold: beyond its range is infinity, as in the training itself."""
    with np.errstate(over="ignore"):
        return float(np.float32(value))


def escaped(text: str) -> str:
    """``text`` as Markdown that shows it letter by letter."""
    return _MARKDOWN.sub(r"\\\1", text)


def table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table; the cells are Markdown on one line each."""
    lines = [" | ".join(headings), " | ".join("---" for _ in headings)]
    lines += [" | ".join(cell.replace("\n", " ") for cell in row) for row in rows]
    return "\n".join(f"| {line} |" for line in lines)
