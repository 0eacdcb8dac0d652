"""Files of a report: their fixed names, and writing one whole or not at all."""

from __future__ import annotations

from pathlib import Path

from saldiag.core.errors import RunError
from saldiag.core.files.jsonio import atomic_file

EVENTS_FILE = "events.out.tfevents.0.saldiag"
"""Always the same, so that drawing a run again replaces what was there."""


def write_bytes(path: Path, content: bytes, option: str = "--out") -> None:
    """Write ``content`` to ``path`` as a whole or not at all; ``option`` is what names the path.

    Raises:
        RunError: it cannot be written; what was there is still there.
    """
    try:
        with atomic_file(path, "wb") as stream:
            stream.write(content)
    except OSError as error:
        reason = error.strerror or str(error)
        raise RunError(f"{path}: cannot be written ({reason}): choose another {option}") from error
