"""A Python file as bytes, text and syntax tree, with the position of each node in the text."""

from __future__ import annotations

import ast
import codecs
import io
import re
import tokenize
from dataclasses import dataclass
from functools import cached_property

from saldiag.repair.errors import Uncertain

_LINE_END = re.compile(r"\r\n|\r|\n")


@dataclass(frozen=True)
class PythonFile:
    """A file that parses."""

    text: str
    """Decoded content without the byte order mark; line ends are unchanged."""
    encoding: str
    """Name of the encoding."""
    byte_order_mark: bytes
    """The UTF-8 byte order mark; empty if the file has none."""
    tree: ast.Module
    """Syntax tree."""

    @classmethod
    def from_bytes(cls, data: bytes) -> PythonFile:
        """Decode as Python does (PEP 263), and parse.

        Raises:
            Uncertain: the file is not valid Python, or encoding the text again gives other bytes.
        """
        mark = codecs.BOM_UTF8 if data.startswith(codecs.BOM_UTF8) else b""
        try:
            encoding, _ = tokenize.detect_encoding(io.BytesIO(data).readline)
            text = data[len(mark) :].decode("utf-8" if mark else encoding)
            tree = ast.parse(data)
        except (SyntaxError, ValueError, LookupError, RecursionError, MemoryError) as error:
            raise Uncertain(f"the file is not valid Python ({type(error).__name__})") from error
        file = cls(text, "utf-8" if mark else encoding, mark, tree)
        if file.encode_text(text) != data:
            raise Uncertain(f"the file's encoding ({encoding}) is not reversible")
        return file

    def encode_text(self, text: str) -> bytes:
        """The bytes of a text in this file's encoding, with the byte order mark.

        Raises:
            Uncertain: the encoding cannot represent it.
        """
        try:
            return self.byte_order_mark + text.encode(self.encoding)
        except UnicodeEncodeError as error:
            raise Uncertain(
                f"the file's encoding ({self.encoding}) cannot represent the new text"
            ) from error

    @cached_property
    def _line_starts(self) -> list[int]:
        """Index of the first character of each line."""
        return [0, *(found.end() for found in _LINE_END.finditer(self.text))]

    def line_text(self, number: int) -> str:
        """The line with that number, counted from 1, with its line end; empty if there is none."""
        starts = [*self._line_starts, len(self.text)]
        return self.text[starts[number - 1] : starts[number]] if 0 < number < len(starts) else ""

    def text_offset(self, line: int, column: int) -> int:
        """Index of the character at a line and column of the tree, which counts UTF-8 bytes."""
        before = self.line_text(line).encode("utf-8", "surrogatepass")[:column]
        return self._line_starts[line - 1] + len(before.decode("utf-8", "surrogatepass"))

    def node_span(self, node: ast.expr) -> tuple[int, int]:
        """Start and end index of a node's characters."""
        assert node.end_lineno is not None
        assert node.end_col_offset is not None
        start = self.text_offset(node.lineno, node.col_offset)
        return start, self.text_offset(node.end_lineno, node.end_col_offset)
