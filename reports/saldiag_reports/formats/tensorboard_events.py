"""TensorBoard's event records without TensorFlow: its own protocol buffers and record format.

Only modules of TensorBoard that do not import TensorFlow are used: its protocol buffers and the
metadata of its plugins. ``tensorboard.compat.tf`` would import TensorFlow if it is installed.
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
MAX_TAG_CHARACTERS = 200
"""Characters of a tag; longer names are cut."""

_TAG = re.compile(r"[^\w\-./ ()|#]", re.ASCII)
_MARKDOWN = re.compile(r"([\\`*_{}\[\]()#+\-.!|<>~&$])")


@dataclass
class EventLog:
    """Collects summaries and returns them as the bytes of one event file."""

    wall_time: float = 0.0
    """Time stamp of every record, in seconds since 1970 UTC; one value for all, because the same
    run must give the same bytes."""
    _records: list[bytes] = field(default_factory=list)
    """Serialized events."""
    _tags: dict[str, str] = field(default_factory=dict)
    """The tag of each name."""
    _taken: set[str] = field(default_factory=set)
    """Tags in use."""

    def add_scalar(self, tag: str, step: int, value: float) -> None:
        """Add a number; NaN (missing) is left out, infinity is kept."""
        if not np.isnan(value):
            tensor = tensor_pb2.TensorProto(
                dtype=types_pb2.DT_FLOAT, float_val=[_to_float32(value)]
            )
            self._add_summary(tag, step, tensor, scalar_metadata.create_summary_metadata("", ""))

    def add_histogram(self, tag: str, step: int, counts: Array, edges: Array) -> None:
        """Add ``counts`` (B) of the bins between ``edges`` (B + 1)."""
        edges = np.nan_to_num(np.asarray(edges, dtype=np.float64))
        bins = np.stack([edges[:-1], edges[1:], np.asarray(counts, dtype=np.float64)], axis=1)
        tensor = tensor_pb2.TensorProto(
            dtype=types_pb2.DT_DOUBLE, tensor_content=np.ascontiguousarray(bins, "<f8").tobytes()
        )
        for length in bins.shape:
            tensor.tensor_shape.dim.add(size=length)
        self._add_summary(tag, step, tensor, histogram_metadata.create_summary_metadata("", ""))

    def add_image(self, tag: str, step: int, width: int, height: int, encoded: bytes) -> None:
        """Add one PNG image; ``width`` and ``height`` are in pixels."""
        parts = [str(width).encode(), str(height).encode(), encoded]
        tensor = tensor_pb2.TensorProto(dtype=types_pb2.DT_STRING, string_val=parts)
        tensor.tensor_shape.dim.add(size=len(parts))
        self._add_summary(tag, step, tensor, image_metadata.create_summary_metadata("", ""))

    def add_text(self, tag: str, step: int, markdown: str) -> None:
        """Add a text; TensorBoard renders it as Markdown."""
        tensor = tensor_pb2.TensorProto(
            dtype=types_pb2.DT_STRING, string_val=[markdown.encode("utf-8", "backslashreplace")]
        )
        self._add_summary(tag, step, tensor, text_metadata.create_summary_metadata("", ""))

    def to_bytes(self) -> bytes:
        """The event file: a version record, then the summaries in the order they were added."""
        buffer = io.BytesIO()
        writer = RecordWriter(buffer)
        first = event_pb2.Event(wall_time=self.wall_time, file_version="brain.Event:2")
        writer.write(first.SerializeToString(deterministic=True))
        for record in self._records:
            writer.write(record)
        return buffer.getvalue()

    def _add_summary(self, tag: str, step: int, tensor: Any, metadata: Any) -> None:
        value = summary_pb2.Summary.Value(tag=self.tag_for(tag), tensor=tensor, metadata=metadata)
        event = event_pb2.Event(
            wall_time=self.wall_time, step=int(step), summary=summary_pb2.Summary(value=[value])
        )
        self._records.append(event.SerializeToString(deterministic=True))

    def tag_for(self, name: str) -> str:
        """A tag of safe characters for ``name``; two names never share one."""
        if name not in self._tags:
            base = _TAG.sub("_", name).strip("/ ")[:MAX_TAG_CHARACTERS] or "_"
            unique, number = base, 2
            while unique in self._taken:
                unique, number = f"{base}#{number}", number + 1
            self._taken.add(unique)
            self._tags[name] = unique
        return self._tags[name]


def _to_float32(value: float) -> float:
    """``value`` rounded to float32; infinity beyond its range."""
    with np.errstate(over="ignore"):
        return float(np.float32(value))


def escape_markdown(text: str) -> str:
    """``text`` with the special characters of Markdown escaped."""
    return _MARKDOWN.sub(r"\\\1", text)


def markdown_table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table. Cells are Markdown; line ends in them become spaces."""
    lines = [" | ".join(headings), " | ".join("---" for _ in headings)]
    lines += [" | ".join(cell.replace("\n", " ") for cell in row) for row in rows]
    return "\n".join(f"| {line} |" for line in lines)
