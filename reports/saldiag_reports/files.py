"""Writing the files of a report atomically, and the name of TensorBoard's file."""

from __future__ import annotations

from pathlib import Path

from saldiag.core.errors import RunError
from saldiag.core.files.jsonio import atomic_file

EVENTS_FILE = "events.out.tfevents.0.saldiag"
"""Fixed name of TensorBoard's file: rendering a run again replaces it."""


def write_bytes(path: Path, content: bytes, option: str = "--out") -> None:
    """Write ``content`` to ``path`` atomically.

    Args:
        path: the file.
        content: its whole content.
        option: the command-line option that names the path, for the error message.

    Raises:
        RunError: the file cannot be written; an existing file is unchanged.
    """
    try:
        with atomic_file(path, "wb") as stream:
            stream.write(content)
    except OSError as error:
        reason = error.strerror or str(error)
        raise RunError(f"{path}: cannot be written ({reason}): choose another {option}") from error
