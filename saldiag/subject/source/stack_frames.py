"""Finding the stack frames of the user's code, outside of installed packages and saldiag."""

from __future__ import annotations

import importlib.util
import linecache
import os
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from types import FrameType
from typing import Any

from saldiag.core.files.fingerprints import FilesSeen
from saldiag.core.measurement import Source
from saldiag.keras_internals.names import AUTOGRAPH_FILE

FRAMEWORK_PACKAGES = ("keras", "tensorflow")
_SALDIAG_FOLDER = Path(__file__).parents[2]
_USED_BY_PROGRAMS = ("quicksal", "recipes", "image_masks")


@cache
def framework_folders() -> tuple[str, ...]:
    """Folders of Keras and TensorFlow, found without importing them."""
    return tuple(folder for name in FRAMEWORK_PACKAGES for folder in _package_folders(name))


@cache
def _saldiag_folders() -> tuple[str, ...]:
    return tuple(
        folder
        for name in ("saldiag_probes", "saldiag_reports")
        for folder in _package_folders(name)
    )


@cache
def _library_folders() -> tuple[str, ...]:
    # "scripts" contains the file that starts saldiag, which is not the user's program.
    paths = ("stdlib", "platstdlib", "scripts")
    return tuple(sysconfig.get_path(path) + os.sep for path in paths)


def _package_folders(package: str) -> list[str]:
    try:
        spec = importlib.util.find_spec(package)
    except (ImportError, ValueError):
        return []
    places = (spec.submodule_search_locations or []) if spec else []
    return [str(Path(place)) + os.sep for place in places]


def is_framework_file(filename: str) -> bool:
    """Whether a file belongs to Keras or TensorFlow."""
    return filename.startswith(framework_folders())


def is_saldiag_file(filename: str) -> bool:
    """Whether a file belongs to saldiag, its probes or its reports.

    Models, losses and layers that programs import from saldiag do not count.
    """
    if filename.startswith(
        tuple(str(_SALDIAG_FOLDER / room) + os.sep for room in _USED_BY_PROGRAMS)
    ):
        return False
    return filename.startswith((str(_SALDIAG_FOLDER) + os.sep, *_saldiag_folders()))


@cache
def is_user_file(filename: str) -> bool:
    """Whether a file belongs to the user's code; saldiag's built-in models count as such."""
    if filename.startswith("<"):
        return filename.startswith("<ipython-input")
    if filename.startswith(str(_SALDIAG_FOLDER)):
        return filename.startswith(str(_SALDIAG_FOLDER / "quicksal"))
    if is_framework_file(filename):
        return False
    installed = "site-packages" in filename or "dist-packages" in filename
    return not installed and not filename.startswith((*_saldiag_folders(), *_library_folders()))


def user_frame(frame: FrameType | None) -> FrameType | None:
    """The innermost frame of the user's code, searching from ``frame`` outwards."""
    while frame is not None and not is_user_file(frame.f_code.co_filename):
        frame = frame.f_back
    return frame


def source_of_frame(frame: FrameType | None, files: FilesSeen | None = None) -> Source | None:
    """File and line of a frame; the path is relative if it is below the working directory.

    Args:
        frame: the frame; None gives None.
        files: collects the file's fingerprint, by which a later fix detects changes.
    """
    if frame is None:
        return None
    if AUTOGRAPH_FILE in frame.f_code.co_filename:
        return _source_before_autograph(frame, files)
    return _source_line(frame.f_code.co_filename, frame.f_lineno, files)


def _source_line(filename: str, line: int, files: FilesSeen | None) -> Source:
    shown = display_path(filename)
    if files is not None:
        files.note(shown, filename)
    return Source(shown, line, linecache.getline(filename, line).strip())


def _source_before_autograph(frame: FrameType, files: FilesSeen | None) -> Source | None:
    """The line that AutoGraph converted to the frame's code; if not known, its caller's line."""
    # TensorFlow is loaded: the frame is running in it.
    from saldiag.keras_internals.graphs import stack_trace

    for seen in reversed(stack_trace()):
        if is_user_file(seen.filename) and AUTOGRAPH_FILE not in seen.filename:
            return _source_line(seen.filename, seen.lineno, files)
    outer = frame.f_back
    while outer is not None and AUTOGRAPH_FILE in outer.f_code.co_filename:
        outer = outer.f_back
    return source_of_frame(user_frame(outer), files)


def source_in_traceback(frames: Iterable[Any], files: FilesSeen | None = None) -> Source | None:
    """The innermost line of the user's code in the traceback of a graph's operation.

    Args:
        frames: with ``filename`` and ``lineno``, from the outermost to the innermost.
        files: as in ``source_of_frame``.
    """
    for frame in reversed(list(frames)):
        if is_user_file(frame.filename) and AUTOGRAPH_FILE not in frame.filename:
            return _source_line(frame.filename, frame.lineno, files)
    return None


def calling_source(files: FilesSeen | None = None) -> Source | None:
    """The line of the user's code that is being executed; ``files`` as in ``source_of_frame``."""
    return source_of_frame(user_frame(sys._getframe(1)), files)


@contextmanager
def paths_shown_from(folder: Path) -> Iterator[None]:
    """In the block, ``display_path`` is relative to ``folder``: a program may change its own."""
    before = _shown_from[:]
    _shown_from.append(folder)
    try:
        yield
    finally:
        _shown_from[:] = before


_shown_from: list[Path] = []


@cache
def display_path(filename: str) -> str:
    """A path for messages: relative if it is below the working directory, else unchanged."""
    try:
        folder = _shown_from[-1] if _shown_from else Path.cwd()
        return str(Path(filename).resolve().relative_to(folder))
    except (ValueError, OSError):
        return filename
