"""Ctrl-C and SIGTERM, and which errors they caused.

Python raises ``KeyboardInterrupt`` wherever the main thread is. Code in C often loses it there:
a destructor drops it, TensorFlow wraps it, and a function that got no result fails with
``SystemError``. Inside ``noting_interrupts`` each Ctrl-C is therefore also noted, and stays pending
until ``take_interrupt`` says that it is handled. SIGTERM, which ``timeout``, ``docker stop`` and
batch systems send, is handled as a Ctrl-C there; a second one ends the process at once.
"""

from __future__ import annotations

import contextlib
import functools
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from types import CodeType, FrameType
from typing import Any, NoReturn

RECENT_SECONDS = 5.0
"""How long after a Ctrl-C an error at the interrupted line counts as caused by it."""

Line = tuple[CodeType, int]


class _Noted:
    """The pending Ctrl-C, if there is one.

    ``lines`` are those that were running when it came, from the innermost call outwards. In a
    user's program (``in_program``) it may have been handled unseen.
    """

    def __init__(self) -> None:
        self.came: float | None = None
        self.lines: frozenset[Line] = frozenset()
        self.in_program = False

    def forget(self) -> None:
        self.came, self.lines = None, frozenset()

    def enter_program(self, inside: bool) -> None:
        self.forget()
        self.in_program = inside


_noted = _Noted()
_raise_as_python_does = signal.default_int_handler


def _note(number: int, frame: FrameType | None) -> NoReturn:
    """Record the signal and raise ``KeyboardInterrupt``, like Python's handler of SIGINT."""
    if number == signal.SIGTERM:
        signal.signal(number, signal.SIG_DFL)
    _noted.came, _noted.lines = time.monotonic(), frozenset(_running(frame))
    _raise_as_python_does(number, frame)


def _running(frame: FrameType | None) -> Iterator[Line]:
    while frame is not None:
        yield frame.f_code, frame.f_lineno
        frame = frame.f_back


@contextlib.contextmanager
def noting_interrupts() -> Iterator[None]:
    """Record every Ctrl-C during the block.

    Outside of the main thread, and where Ctrl-C has another handler or is ignored, nothing is
    changed and nothing is noted. SIGTERM is noted too unless it has a handler.
    """
    if not _handles(signal.SIGINT, _raise_as_python_does):
        yield
        return
    with contextlib.ExitStack() as stack:
        stack.enter_context(_handler(signal.SIGINT, _note))
        if _handles(signal.SIGTERM, signal.SIG_DFL):
            stack.enter_context(_handler(signal.SIGTERM, _note))
        stack.callback(setattr, sys, "unraisablehook", sys.unraisablehook)
        sys.unraisablehook = _without_interrupts(sys.unraisablehook)
        stack.callback(_noted.forget)
        yield


def _handles(number: signal.Signals, handler: Any) -> bool:
    """Whether this thread may change handlers, and the signal has the given handler."""
    main = threading.current_thread() is threading.main_thread()
    return main and signal.getsignal(number) is handler


@contextlib.contextmanager
def _handler(number: signal.Signals, handler: Any) -> Iterator[None]:
    before = signal.signal(number, handler)
    try:
        yield
    finally:
        signal.signal(number, before)


def _without_interrupts(report: Callable[[Any], object]) -> Callable[[Any], object]:
    """A hook for errors in destructors that leaves a Ctrl-C to ``raise_pending``."""

    @functools.wraps(report)
    def hook(lost: Any) -> None:
        pending = _noted.came is not None and not _noted.in_program
        if not (pending and isinstance(lost.exc_value, KeyboardInterrupt)):
            report(lost)

    return hook


@contextlib.contextmanager
def program_interrupts() -> Iterator[None]:
    """Run a user's program in the block, which handles Ctrl-C as it does without saldiag.

    It may install a handler, catch ``KeyboardInterrupt`` and go on. Python's default handler is
    still ``signal.default_int_handler`` for it, SIGTERM ends it, and ``sys.unraisablehook`` is
    Python's. Nothing of that is left behind the block.
    """
    with noting_interrupts(), contextlib.ExitStack() as stack:
        if not _handles(signal.SIGINT, _note):
            yield
            return
        stack.enter_context(_handler(signal.SIGINT, _note))
        if _handles(signal.SIGTERM, _note):
            stack.enter_context(_handler(signal.SIGTERM, signal.SIG_DFL))
        stack.callback(setattr, signal, "default_int_handler", signal.default_int_handler)
        signal.default_int_handler = _note
        stack.callback(setattr, sys, "unraisablehook", sys.unraisablehook)
        sys.unraisablehook = getattr(sys.unraisablehook, "__wrapped__", sys.unraisablehook)
        stack.callback(_noted.enter_program, _noted.in_program)
        _noted.enter_program(True)
        yield


@contextlib.contextmanager
def children_without_interrupts() -> Iterator[None]:
    """Block Ctrl-C for processes started in the block; this process gets it afterwards.

    A terminal sends it to all of them, and a new one would end with a traceback of its imports.
    """
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def caused_by_interrupt(error: BaseException) -> bool:
    """Whether a Ctrl-C caused the error, whatever its type.

    It did if the error is a ``KeyboardInterrupt`` or wraps one. While saldiag itself is at work,
    every error with a Ctrl-C pending counts; in a user's program only one that is raised at a line
    that was running when the Ctrl-C came.
    """
    causes = list(_causes(error))
    if any(isinstance(cause, KeyboardInterrupt) or _is_wrapped(cause) for cause in causes):
        return True
    if _noted.came is None or isinstance(error, (SystemExit, GeneratorExit)):
        return False
    if not _noted.in_program:
        return True
    recent = time.monotonic() - _noted.came < RECENT_SECONDS
    return recent and any(_raised_at(cause) in _noted.lines for cause in causes)


def take_interrupt(error: BaseException) -> bool:
    """``caused_by_interrupt``; if true, that Ctrl-C counts as handled."""
    caused = caused_by_interrupt(error)
    if caused:
        _noted.forget()
    return caused


@contextlib.contextmanager
def until_interrupted() -> Iterator[None]:
    """End the block at a Ctrl-C, and continue after it."""
    try:
        yield
    except BaseException as error:
        if not take_interrupt(error):
            raise


def reraise_interrupt(error: BaseException) -> None:
    """Raise an error that a Ctrl-C caused again, in code that otherwise catches all errors.

    Raises:
        KeyboardInterrupt: it did.
    """
    if caused_by_interrupt(error):
        raise KeyboardInterrupt from error


def raise_pending() -> None:
    """Raise a lost Ctrl-C again, unless it came in a user's program, which may have caught it.

    Raises:
        KeyboardInterrupt: there is one.
    """
    if _noted.came is not None and not _noted.in_program:
        raise KeyboardInterrupt


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error and its explicit causes; an error raised while handling another is separate."""
    cause: BaseException | None = error
    seen: set[int] = set()
    while cause is not None and id(cause) not in seen:
        seen.add(id(cause))
        yield cause
        cause = cause.__cause__


def _is_wrapped(error: BaseException) -> bool:
    """Whether it is TensorFlow's error for a Python function that raised ``KeyboardInterrupt``."""
    raised = str(error).partition("Traceback")[0]
    return type(error).__module__.startswith("tensorflow.") and "KeyboardInterrupt:" in raised


def _raised_at(error: BaseException) -> Line | None:
    """The innermost line of the error's traceback."""
    trace, found = error.__traceback__, None
    while trace is not None:
        found, trace = (trace.tb_frame.f_code, trace.tb_lineno), trace.tb_next
    return found
