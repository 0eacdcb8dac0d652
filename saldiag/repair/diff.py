"""Unified diffs that ``git apply`` and ``patch -p1`` accept."""

from __future__ import annotations

import difflib
import re

_NEEDS_QUOTES = re.compile(rb'[\x00-\x1f\x7f"\\]')
_NAMED_ESCAPES = {b"\t": b"\\t", b"\n": b"\\n", b"\r": b"\\r", b'"': b'\\"', b"\\": b"\\\\"}
NO_NEWLINE_LINE = b"\\ No newline at end of file\n"


def unified_diff(file: str, before: bytes, after: bytes) -> bytes:
    """The diff between two versions of a file, as bytes; empty if they are equal.

    Args:
        file: the file's path in the header.
        before: the old bytes.
        after: the new bytes.
    """
    lines = difflib.diff_bytes(
        difflib.unified_diff,
        _split_lines(before),
        _split_lines(after),
        fromfile=_quoted_path("a", file),
        tofile=_quoted_path("b", file),
    )
    return b"".join(
        line if line.endswith(b"\n") else line + b"\n" + NO_NEWLINE_LINE for line in lines
    )


def _split_lines(data: bytes) -> list[bytes]:
    """Split at line feeds only, as ``patch`` does."""
    lines = [line + b"\n" for line in data.split(b"\n")]
    lines[-1] = lines[-1][:-1]
    return lines if lines[-1] else lines[:-1]


def _quoted_path(side: str, file: str) -> bytes:
    """A path as git writes it: in quotes if it contains control characters or quotes."""
    name = file.encode("utf-8", "surrogateescape")
    path = name if name.startswith(b"/") else side.encode() + b"/" + name
    if _NEEDS_QUOTES.search(path):
        return b'"' + _NEEDS_QUOTES.sub(_escape_byte, path) + b'"'
    return path + b"\t" if b" " in path else path


def _escape_byte(found: re.Match[bytes]) -> bytes:
    mark = found.group()
    return _NAMED_ESCAPES.get(mark) or b"\\%03o" % mark[0]
