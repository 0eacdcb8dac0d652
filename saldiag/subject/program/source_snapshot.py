"""Recording the user's source files while the program runs, before they can change."""

from __future__ import annotations

import linecache
import sys
from collections.abc import Iterator
from pathlib import Path

from saldiag.core.files.sources import decoded, digest
from saldiag.core.measurement import SourceFile, SourceFiles
from saldiag.keras_internals.names import AUTOGRAPH_FILE
from saldiag.subject.program.notebook import is_notebook
from saldiag.subject.source.stack_frames import display_path, is_user_file

MAX_FILES = 200
"""How many files are recorded; an editable install of a large package has more modules."""
MAX_TEXT_BYTES = 256 * 1024
"""Size of the largest file whose text is stored; of a larger one only the hash is."""
MAX_ALL_TEXT_BYTES = 4 * 1024 * 1024
"""Size of all stored texts together."""

_SALDIAG_FOLDER = str(Path(__file__).parents[2])


class SourceSnapshot:
    """A program's source files, each as it was when it was first recorded.

    Args:
        program: the script or notebook, which is recorded at once; None if there is none.
    """

    def __init__(self, program: Path | None = None) -> None:
        self._program = program
        self._files: dict[str, SourceFile] = {}
        self._left_out: set[str] = set()
        self._stored_bytes = 0
        if program is not None:
            self._record_file(str(program))

    def source_files(self) -> SourceFiles:
        """The measurement of all user files whose code has been loaded so far."""
        for name in [*self._notebook_cells(), *sorted(_loaded_user_files())]:
            self._record_file(name)
        return SourceFiles(tuple(self._files.values()), len(self._left_out))

    def _notebook_cells(self) -> list[str]:
        """File names of the notebook's cells that have run."""
        return [name for name in linecache.cache if name.startswith(f"{self._program}[")]

    def _record_file(self, name: str) -> None:
        file = display_path(name)
        if file in self._files:
            return
        if len(self._files) >= MAX_FILES:
            self._left_out.add(file)
        elif (content := _file_content(name)) is not None:
            self._files[file] = SourceFile(
                file, digest(content), len(content), self._text_to_store(name, content)
            )

    def _text_to_store(self, name: str, content: bytes) -> str | None:
        too_long = len(content) > min(MAX_TEXT_BYTES, MAX_ALL_TEXT_BYTES - self._stored_bytes)
        if too_long or is_notebook(Path(name)):
            return None
        self._stored_bytes += len(content)
        return decoded(content)


def _loaded_user_files() -> Iterator[str]:
    """Files of the loaded modules that are the user's."""
    for module in list(sys.modules.values()):
        name = getattr(module, "__file__", None)
        if isinstance(name, str) and name.endswith(".py") and _is_user_module(name):
            yield name


def _is_user_module(name: str) -> bool:
    return (
        AUTOGRAPH_FILE not in name and not name.startswith(_SALDIAG_FOLDER) and is_user_file(name)
    )


def _file_content(name: str) -> bytes | None:
    """Content of a file, or of a cell in linecache; None if it cannot be read."""
    try:
        return Path(name).read_bytes()
    except (OSError, ValueError):
        return "".join(linecache.getlines(name)).encode("utf-8", "surrogatepass") or None
