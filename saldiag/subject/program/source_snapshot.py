"""The user's own source files, read while the program runs: what they hold later is another run."""

from __future__ import annotations

import linecache
import sys
from collections.abc import Iterator
from pathlib import Path

from saldiag.core.files.sources import decoded, digest
from saldiag.core.measurement import SourceFile, SourceFiles
from saldiag.keras_internals.names import AUTOGRAPH_FILE
from saldiag.subject.program.notebook import is_notebook
from saldiag.subject.source.stack_frames import display_path, is_user

MAX_FILES = 200
"""A checkout that is installed in place has more modules than a comparison has use for."""
MAX_TEXT_BYTES = 256 * 1024
"""Bytes of a file whose text is kept; of a longer one the hash tells whether it changed."""
MAX_ALL_TEXT_BYTES = 4 * 1024 * 1024
"""Bytes of all texts together."""

_SALDIAG = str(Path(__file__).parents[2])


class SourceSnapshot:
    """The files of a program, each as it was when it was first asked for.

    Args:
        program: the script or notebook, read at once.
    """

    def __init__(self, program: Path | None = None) -> None:
        self._program = program
        self._files: dict[str, SourceFile] = {}
        self._left_out: set[str] = set()
        self._kept = 0
        if program is not None:
            self._look(str(program))

    def measured(self) -> SourceFiles:
        """All files whose code is loaded by now."""
        for name in [*self._cells(), *sorted(_loaded_user_files())]:
            self._look(name)
        return SourceFiles(tuple(self._files.values()), len(self._left_out))

    def _cells(self) -> list[str]:
        """The cells of a notebook that have run."""
        return [name for name in linecache.cache if name.startswith(f"{self._program}[")]

    def _look(self, name: str) -> None:
        file = display_path(name)
        if file in self._files:
            return
        if len(self._files) >= MAX_FILES:
            self._left_out.add(file)
        elif (content := _file_content(name)) is not None:
            self._files[file] = SourceFile(
                file, digest(content), len(content), self._text(name, content)
            )

    def _text(self, name: str, content: bytes) -> str | None:
        too_long = len(content) > min(MAX_TEXT_BYTES, MAX_ALL_TEXT_BYTES - self._kept)
        if too_long or is_notebook(Path(name)):
            return None
        self._kept += len(content)
        return decoded(content)


def _loaded_user_files() -> Iterator[str]:
    """The files of the modules that are loaded and the user's own."""
    for module in list(sys.modules.values()):
        name = getattr(module, "__file__", None)
        if isinstance(name, str) and name.endswith(".py") and _is_own(name):
            yield name


def _is_own(name: str) -> bool:
    return AUTOGRAPH_FILE not in name and not name.startswith(_SALDIAG) and is_user(name)


def _file_content(name: str) -> bytes | None:
    """What a file holds, or a cell that linecache knows; None where it cannot be read."""
    try:
        return Path(name).read_bytes()
    except (OSError, ValueError):
        return "".join(linecache.getlines(name)).encode("utf-8", "surrogatepass") or None
