"""Run a user's program as Python itself would, in this process."""

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
    """Ends the program from inside, for enough is known; a program's ``finally`` clauses run."""


@dataclass(frozen=True)
class ProgramEnd:
    """How a program ended: its exit code as the shell would see it, and the error, if any."""

    how: EndKind
    code: int
    error: BaseException | None = None


def run_script(path: Path, arguments: Sequence[str]) -> ProgramEnd:
    """Run a script as ``__main__``; working directory, threads and ``atexit`` stay the process's.

    Raises:
        SaldiagError: there is no such file, or it cannot be read.
    """
    code = _read_script(path)

    def execute(module: types.ModuleType) -> None:
        exec(compile(code, str(path), "exec", dont_inherit=True), module.__dict__)  # noqa: S102 - theirs

    return run_as_main(path, arguments, execute)


def run_as_main(
    path: Path, arguments: Sequence[str], execute: Callable[[types.ModuleType], None]
) -> ProgramEnd:
    """Run ``execute`` on a fresh ``__main__`` module whose file is ``path``."""
    module = types.ModuleType("__main__")
    module.__dict__.update(__file__=str(path), __builtins__=__builtins__)
    with _installed_main(module, [str(path), *arguments], str(path.resolve().parent)):
        return _run_to_end(lambda: execute(module))


def _run_to_end(execute: Callable[[], None]) -> ProgramEnd:
    try:
        execute()
    except ProgramStopped:
        return ProgramEnd("stopped", 0)
    except SystemExit as left:
        return ProgramEnd("exited", _exit_code(left))
    except BaseException as error:
        if take_interrupt(error):
            return ProgramEnd("interrupted", 130, error)
        return ProgramEnd("raised", 1, error)
    return ProgramEnd("finished", 0)


def _exit_code(left: SystemExit) -> int:
    if left.code is None:
        return 0
    if isinstance(left.code, int):
        return left.code
    sys.stderr.write(f"{left.code}\n")  # as Python does with a text
    return 1


def _read_script(path: Path) -> bytes:
    try:
        with io.open_code(str(path.resolve())) as stream:
            return stream.read()
    except OSError as error:
        raise SaldiagError(f"{path}: {error.strerror or error}") from error


@contextmanager
def _installed_main(module: types.ModuleType, argv: list[str], folder: str) -> Iterator[None]:
    """The module as ``__main__``, with its arguments and its folder first in the path."""
    main, arguments, search = sys.modules["__main__"], sys.argv, list(sys.path)
    sys.modules["__main__"], sys.argv = module, argv
    sys.path[:] = [folder, *_without_launcher(search)]
    try:
        yield
    finally:
        sys.modules["__main__"], sys.argv, sys.path[:] = main, arguments, search


def _without_launcher(search: list[str]) -> list[str]:
    """The search path without the folder that saldiag's own launcher put first."""
    launcher = str(Path(sys.argv[0]).resolve().parent) if sys.argv and sys.argv[0] else None
    return search[1:] if search and launcher and search[0] == launcher else search


def print_error(error: BaseException) -> None:
    """The traceback as Python shows it, from the program's first frame on."""
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
