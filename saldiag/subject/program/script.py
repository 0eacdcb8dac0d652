"""Running the user's script in this process, as ``python script.py`` would."""

from __future__ import annotations

import io
import os
import sys
import traceback
import types
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from saldiag.core.errors import SaldiagError
from saldiag.core.interrupts import take_interrupt

EndKind = Literal["finished", "exited", "raised", "interrupted", "stopped"]


class ProgramStopped(SystemExit):
    """Raised inside the program to end it early; its ``finally`` clauses run."""


@dataclass(frozen=True)
class ProgramEnd:
    """How a program ended."""

    how: EndKind
    """``exited`` is a ``SystemExit``; ``stopped`` is a ``ProgramStopped`` by saldiag."""
    code: int
    """Exit code that the shell would see."""
    error: BaseException | None = None
    """The error that ended the program; None if it finished, exited or was stopped."""


def run_script(path: Path, arguments: Sequence[str]) -> ProgramEnd:
    """Run a script as ``__main__``; working directory, threads and ``atexit`` are the process's.

    Args:
        path: the script.
        arguments: ``sys.argv`` after the script's path.

    Raises:
        SaldiagError: there is no such file, or it cannot be read.
    """
    code = _read_script(path)

    def run_code(module: types.ModuleType) -> None:
        exec(compile(code, str(path), "exec", dont_inherit=True), module.__dict__)  # noqa: S102

    return run_as_main(path, arguments, run_code)


def run_as_main(
    path: Path, arguments: Sequence[str], execute: Callable[[types.ModuleType], None]
) -> ProgramEnd:
    """Call ``execute`` with a new ``__main__`` module whose file is ``path``.

    Args:
        path: file of the program.
        arguments: ``sys.argv`` after the path.
        execute: runs the program's code in the module.
    """
    module = types.ModuleType("__main__")
    module.__dict__.update(__file__=str(path), __builtins__=__builtins__)
    with _installed_main(module, [str(path), *arguments], str(path.resolve().parent)):
        return _run_to_end(lambda: execute(module))


def _run_to_end(execute: Callable[[], None]) -> ProgramEnd:
    try:
        execute()
    except ProgramStopped:
        return ProgramEnd("stopped", 0)
    except SystemExit as exited:
        return ProgramEnd("exited", _exit_code(exited))
    except BaseException as error:
        if take_interrupt(error):
            return ProgramEnd("interrupted", 130, error)
        return ProgramEnd("raised", 1, error)
    return ProgramEnd("finished", 0)


def _exit_code(exited: SystemExit) -> int:
    if exited.code is None:
        return 0
    if isinstance(exited.code, int):
        return exited.code
    sys.stderr.write(f"{exited.code}\n")  # Python prints any other value, and exits with 1
    return 1


def _read_script(path: Path) -> bytes:
    try:
        with io.open_code(str(path.resolve())) as stream:
            return stream.read()
    except OSError as error:
        raise SaldiagError(f"{path}: {error.strerror or error}") from error


@contextmanager
def _installed_main(module: types.ModuleType, argv: list[str], folder: str) -> Iterator[None]:
    """Install ``module`` as ``__main__``, with ``argv``, and ``folder`` first in ``sys.path``."""
    before = sys.modules["__main__"], sys.argv, list(sys.path)
    sys.modules["__main__"], sys.argv = module, argv
    sys.path[:] = [folder, *_without_launcher(before[2])]
    try:
        yield
    finally:
        sys.modules["__main__"], sys.argv, sys.path[:] = before


def _without_launcher(search: list[str]) -> list[str]:
    """``sys.path`` without the folder of saldiag's launcher, which Python put first."""
    launcher = str(Path(sys.argv[0]).resolve().parent) if sys.argv and sys.argv[0] else None
    return search[1:] if search and launcher and search[0] == launcher else search


def print_error(error: BaseException) -> None:
    """Write the traceback to stderr as Python does, without saldiag's frames."""
    trace = error.__traceback__
    own = str(Path(__file__).parents[2]) + os.sep
    while trace is not None and trace.tb_frame.f_code.co_filename.startswith(own):
        trace = trace.tb_next
    kept = _without_own_frames(traceback.TracebackException(type(error), error, trace), own)
    sys.stderr.write("".join(kept.format()))


def _without_own_frames(shown: Any, own: str) -> Any:
    shown.stack = traceback.StackSummary.from_list(
        [frame for frame in shown.stack if not frame.filename.startswith(own)]
    )
    return shown
