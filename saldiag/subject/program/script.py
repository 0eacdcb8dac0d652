"""Running the user's script in this process, as ``python script.py`` would."""

from __future__ import annotations

import builtins
import io
import os
import signal
import sys
import types
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from importlib.machinery import SourceFileLoader
from pathlib import Path
from typing import Any, Literal

from saldiag.core.errors import SaldiagError
from saldiag.core.interrupts import take_interrupt
from saldiag.subject.source.stack_frames import is_saldiag_file

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


class ForkedChildEnded(SystemExit):
    """Ends a child process that the program forked, with the exit code that Python would give it.

    Raised out of ``run_script``: nothing of saldiag's own work is the child's.
    """


def run_script(path: Path, arguments: Sequence[str], *, typed: str = "") -> ProgramEnd:
    """Run a script as ``__main__``; working directory, threads and ``atexit`` are the process's.

    Args:
        path: the script.
        arguments: ``sys.argv`` after the script's path.
        typed: the script's path as it was typed, ``sys.argv[0]``; empty for ``path``.

    Raises:
        SaldiagError: there is no such file, or it cannot be read.
        ForkedChildEnded: this is a child process that the program forked.
    """
    code = _read_script(path)
    name = typed or str(path)
    file = absolute_name(name)

    def run_code(module: types.ModuleType) -> None:
        exec(compile(code, file, "exec", dont_inherit=True), module.__dict__)  # noqa: S102

    return run_as_main(name, arguments, run_code)


def absolute_name(path: str) -> str:
    """``__file__`` of a script: absolute, but with links and ``..`` as they were typed."""
    if os.path.isabs(path):  # noqa: PTH117 - as below; the working directory may be gone
        return path
    return os.path.join(os.getcwd(), path)  # noqa: PTH109, PTH118 - a Path drops "./"


def run_as_main(
    name: str, arguments: Sequence[str], execute: Callable[[types.ModuleType], None]
) -> ProgramEnd:
    """Call ``execute`` with a new ``__main__`` module whose file is ``name``.

    An error that ends the program is shown by its ``sys.excepthook``, as Python does.

    Args:
        name: file of the program, as it was typed.
        arguments: ``sys.argv`` after the path.
        execute: runs the program's code in the module.

    Raises:
        ForkedChildEnded: this is a child process that the program forked.
    """
    process = os.getpid()
    module = _main_module(absolute_name(name))
    with _installed_main(module, [name, *arguments], str(Path(name).resolve().parent)):
        ended = _run_to_end(lambda: execute(module))
        if os.getpid() != process:
            raise ForkedChildEnded(ended.code)
        return ended


def _main_module(file: str) -> types.ModuleType:
    """A module with what Python gives ``__main__`` when it runs a script."""
    module = types.ModuleType("__main__")
    module.__dict__.update(
        __loader__=SourceFileLoader("__main__", file),
        __annotations__={},
        __builtins__=builtins,
        __file__=file,
        __cached__=None,
    )
    return module


def _run_to_end(execute: Callable[[], None]) -> ProgramEnd:
    try:
        execute()
    except ProgramStopped:
        return ProgramEnd("stopped", 0)
    except SystemExit as exited:
        return ProgramEnd("exited", _exit_code(exited))
    except BaseException as error:
        if take_interrupt(error):
            # Only a hook of the program's own is called: saldiag reports the interruption itself.
            if _excepthook() is not sys.__excepthook__:
                show_uncaught(error)
            return ProgramEnd("interrupted", 130, error)
        code = show_uncaught(error)
        return ProgramEnd("raised", 1, error) if code is None else ProgramEnd("exited", code)
    return ProgramEnd("finished", 0)


def _exit_code(exited: SystemExit) -> int:
    """The exit code that the shell sees."""
    if exited.code is None:
        return 0
    if isinstance(exited.code, int):
        return exited.code & 0xFF
    sys.stderr.write(f"{exited.code}\n")  # Python prints any other value, and exits with 1
    return 1


def _read_script(path: Path) -> bytes:
    try:
        with io.open_code(str(path.resolve())) as stream:
            return stream.read()
    except OSError as error:
        raise SaldiagError(f"{path}: {error.strerror or error}") from error


_SIGNALS = (signal.SIGINT, signal.SIGTERM)  # saldiag handles these around a program


@dataclass
class _Process:
    """What a program finds in ``sys``, and may replace; and its handlers of signals."""

    main: types.ModuleType
    argv: list[str]
    path: list[str]
    stdout: Any
    unraisablehook: Any
    handlers: list[Any]

    @classmethod
    def current(cls) -> _Process:
        return cls(
            sys.modules["__main__"], sys.argv, list(sys.path), sys.stdout, sys.unraisablehook,
            [signal.getsignal(number) for number in _SIGNALS],
        )  # fmt: skip

    def install(self) -> None:
        sys.modules["__main__"], sys.argv, sys.path[:] = self.main, self.argv, self.path


_around_program: list[tuple[_Process, _Process]] = []
"""What the last program found and what it left; empty if none has run."""


def reinstall_program() -> None:
    """Give what runs at interpreter exit the ``__main__``, ``sys.argv``, … that the program left.

    Its ``atexit`` handlers run then. Does nothing if no program has run.
    """
    for found, left in _around_program:
        left.install()
        sys.stdout, sys.unraisablehook = left.stdout, left.unraisablehook
        for number, before, after in zip(_SIGNALS, found.handlers, left.handlers, strict=True):
            if after is not None and after is not before:
                with suppress(ValueError):  # not in the main thread
                    signal.signal(number, after)


@contextmanager
def _installed_main(module: types.ModuleType, argv: list[str], folder: str) -> Iterator[None]:
    """Install ``module`` as ``__main__``, with ``argv``, and ``folder`` first in ``sys.path``."""
    before, process = _Process.current(), os.getpid()
    search = _without_launcher(before.path)
    if not sys.flags.safe_path:
        search.insert(0, folder)
    replace(before, main=module, argv=argv, path=search).install()
    try:
        yield
    finally:
        if os.getpid() == process:  # a forked child goes on to its interpreter's exit
            _around_program[:] = [(before, _Process.current())]
            before.install()


def _without_launcher(search: list[str]) -> list[str]:
    """``sys.path`` without the folder that Python put first for saldiag's own start."""
    if sys.flags.safe_path or not search or not sys.argv or not sys.argv[0]:
        return list(search)
    # The folder of the script ``saldiag``; under ``python -m saldiag`` the working directory.
    by_module = getattr(sys.modules["__main__"], "__spec__", None) is not None
    first = Path.cwd() if by_module else Path(sys.argv[0]).resolve().parent
    return search[1:] if search[0] == str(first) else list(search)


def show_uncaught(error: BaseException) -> int | None:
    """Show the error that ended the program, by ``sys.excepthook``, without saldiag's frames.

    Returns the exit code if the hook itself exits, None otherwise.
    """
    _drop_own_frames(error)
    sys.last_type, sys.last_value, sys.last_traceback = type(error), error, error.__traceback__
    hook = _excepthook()
    if hook is None:
        sys.stderr.write("sys.excepthook is missing\n")
        hook = sys.__excepthook__
    try:
        hook(type(error), error, error.__traceback__)
    except SystemExit as exited:
        return _exit_code(exited)
    except BaseException as second:
        _drop_own_frames(second)
        sys.stderr.write("Error in sys.excepthook:\n")
        sys.__excepthook__(type(second), second, second.__traceback__)
        sys.stderr.write("\nOriginal exception was:\n")
        sys.__excepthook__(type(error), error, error.__traceback__)
    return None


def _excepthook() -> Callable[..., object] | None:
    return getattr(sys, "excepthook", None)


def _drop_own_frames(error: BaseException) -> None:
    """Take saldiag's frames out of the tracebacks of an error and of those that led to it."""
    pending: list[BaseException | None] = [error]
    seen: set[int] = set()
    while pending:
        one = pending.pop()
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        one.__traceback__ = _without_own_frames(one.__traceback__)
        pending += [one.__cause__, one.__context__]
        if isinstance(one, BaseExceptionGroup):
            pending += one.exceptions


def _without_own_frames(trace: types.TracebackType | None) -> types.TracebackType | None:
    entries = []
    while trace is not None:
        if not is_saldiag_file(trace.tb_frame.f_code.co_filename):
            entries.append(trace)
        trace = trace.tb_next
    kept: types.TracebackType | None = None
    for entry in reversed(entries):
        kept = types.TracebackType(kept, entry.tb_frame, entry.tb_lasti, entry.tb_lineno)
    return kept
