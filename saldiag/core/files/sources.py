"""The user's source files as a run recorded them: text and hash."""

from __future__ import annotations

import hashlib
import io
import tokenize
from pathlib import Path

from saldiag.core.files.run import Run
from saldiag.core.measurement import SourceFile, SourceFiles


def recorded_sources(run: Path) -> dict[str, SourceFile]:
    """Hash and text of the source files of a run, by path as ``Source.file`` has it.

    Empty where the run recorded none.

    Raises:
        RunError: there is no run there, or it cannot be read.
    """
    recorded = Run.open(run).read_measurements(SourceFiles).get(SourceFiles)
    return {source.file: source for source in recorded.files} if recorded else {}


def is_unchanged(recorded: SourceFile, path: Path) -> bool:
    """Whether the file at ``path`` is byte for byte the recorded one."""
    try:
        return digest(path.read_bytes()) == recorded.sha256
    except OSError:
        return False


def digest(content: bytes) -> str:
    """The SHA-256 of a file's content, in hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()


def decoded(content: bytes) -> str | None:
    """Python source decoded by its own encoding, with its line ends; None if it is not text."""
    try:
        encoding, _ = tokenize.detect_encoding(io.BytesIO(content).readline)
        return content.decode(encoding)
    except (SyntaxError, UnicodeDecodeError, LookupError):
        return None
