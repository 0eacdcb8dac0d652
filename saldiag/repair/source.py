"""A Python file: its bytes, its text and its tree, and the way from a node back to the text."""

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
    """A file that parses; ``text`` is without the byte order mark and keeps its line ends."""

    text: str
    encoding: str
    mark: bytes
    tree: ast.Module

    @classmethod
    def read(cls, data: bytes) -> PythonFile:
        """Decode as Python does (PEP 263), and parse.

        Raises:
            Uncertain: it is no Python, or cannot be read back as it was.
        """
        mark = codecs.BOM_UTF8 if data.startswith(codecs.BOM_UTF8) else b""
        try:
            encoding, _ = tokenize.detect_encoding(io.BytesIO(data).readline)
            text = data[len(mark) :].decode("utf-8" if mark else encoding)
            tree = ast.parse(data)
        except (SyntaxError, ValueError, LookupError, RecursionError, MemoryError) as error:
            raise Uncertain(f"the file is no Python ({type(error).__name__})") from error
        file = cls(text, "utf-8" if mark else encoding, mark, tree)
        if file.encode(text) != data:
            raise Uncertain(f"the file's encoding ({encoding}) is not one to one")
        return file

    def encode(self, text: str) -> bytes:
        """The bytes of a text in this file's encoding.

        Raises:
            Uncertain: the encoding cannot hold it.
        """
        try:
            return self.mark + text.encode(self.encoding)
        except UnicodeEncodeError as error:
            raise Uncertain(f"the file's encoding ({self.encoding}) cannot hold it") from error

    @cached_property
    def _starts(self) -> list[int]:
        """Where each line begins, in characters."""
        return [0, *(found.end() for found in _LINE_END.finditer(self.text))]

    def line(self, number: int) -> str:
        """The line of that number, from 1, with its end; empty where there is none."""
        starts = [*self._starts, len(self.text)]
        return self.text[starts[number - 1] : starts[number]] if 0 < number < len(starts) else ""

    def offset(self, line: int, column: int) -> int:
        """The place of a line and a column of the tree, which counts bytes of UTF-8."""
        before = self.line(line).encode("utf-8", "surrogatepass")[:column]
        return self._starts[line - 1] + len(before.decode("utf-8", "surrogatepass"))

    def span(self, node: ast.expr) -> tuple[int, int]:
        """The characters that a node is written in."""
        assert node.end_lineno is not None
        assert node.end_col_offset is not None
        start = self.offset(node.lineno, node.col_offset)
        return start, self.offset(node.end_lineno, node.end_col_offset)
