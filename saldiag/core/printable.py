"""Text of a user's, made fit for one line of a terminal."""

from __future__ import annotations

from pathlib import Path


def printable(text: str | Path) -> str:
    """``text`` on one line, safe for a terminal and for UTF-8.

    Control characters, newlines, text-direction marks and undecodable bytes of file names come
    out as backslash escapes; everything that prints is kept.
    """
    return "".join(c if c.isprintable() else _escape(c) for c in str(text))


def _escape(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")
