"""Ctrl-C: what it caused, and what is a fault of its own."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
import threading

import pytest

from saldiag.core import interrupts
from saldiag.core.interrupts import (
    caused_by_interrupt,
    noting_interrupts,
    program_interrupts,
    raise_pending,
    reraise_interrupt,
    take_interrupt,
    until_interrupted,
)


def press() -> None:
    """Ctrl-C."""
    os.kill(os.getpid(), signal.SIGINT)


def lose() -> None:
    """Ctrl-C in code that drops the exception."""
    with contextlib.suppress(KeyboardInterrupt):
        press()


def fail_in_c() -> None:
    """C code that goes on without the result that the Ctrl-C cost: it takes a tuple for a list."""
    lose() or ctypes.pythonapi.PyList_Size(ctypes.py_object(()))


def error_of(action) -> BaseException:
    with pytest.raises(BaseException) as caught:  # noqa: PT011 - whatever it is
        action()
    return caught.value


def test_the_default_handler_is_back_after_the_block() -> None:
    hook = sys.unraisablehook
    with noting_interrupts():
        assert signal.getsignal(signal.SIGINT) is not signal.default_int_handler
        with noting_interrupts():
            assert isinstance(error_of(press), KeyboardInterrupt)
        assert signal.getsignal(signal.SIGINT) is not signal.default_int_handler
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert sys.unraisablehook is hook


def test_any_error_with_a_ctrl_c_pending_is_an_interruption() -> None:
    with noting_interrupts():
        assert not caused_by_interrupt(SystemError("a fault"))
        error = error_of(fail_in_c)
        assert caused_by_interrupt(error)
        assert not caused_by_interrupt(SystemExit(3))
        with pytest.raises(KeyboardInterrupt):
            reraise_interrupt(error)
        assert take_interrupt(error)
        assert not caused_by_interrupt(error), "it is handled"
        reraise_interrupt(error)
    assert not caused_by_interrupt(error)


def test_nothing_is_pending_after_the_block() -> None:
    with noting_interrupts():
        lose()
    with noting_interrupts():
        assert not caused_by_interrupt(SystemError("a fault"))


def test_what_wraps_one_is_one_even_if_nothing_is_noted() -> None:
    wrapped = RuntimeError("reading failed")
    wrapped.__cause__ = OSError("x")
    assert not caused_by_interrupt(wrapped)
    wrapped.__cause__.__cause__ = KeyboardInterrupt()
    assert caused_by_interrupt(wrapped)
    cleanup = ValueError("raised while it was handled")
    cleanup.__context__ = KeyboardInterrupt()
    assert not caused_by_interrupt(cleanup)
    circle = ValueError()
    circle.__cause__ = wrapped.__cause__
    wrapped.__cause__.__cause__ = circle
    assert not caused_by_interrupt(circle)


def test_a_lost_one_is_raised_again_until_it_is_handled(capsys) -> None:
    class Loses:
        def __del__(self) -> None:
            press()

    with noting_interrupts():
        raise_pending()
        Loses()
        with pytest.raises(KeyboardInterrupt):
            raise_pending()
        with until_interrupted():
            raise_pending()
        raise_pending()
    assert capsys.readouterr().err == ""


def test_a_block_until_an_interrupt_hides_no_fault() -> None:
    with noting_interrupts():
        with until_interrupted():
            fail_in_c()
        with pytest.raises(SystemError), until_interrupted():
            raise SystemError("a fault")


def test_sigterm_is_a_ctrl_c_once_and_ends_a_program() -> None:
    with noting_interrupts():
        with program_interrupts():
            assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
        error = error_of(lambda: os.kill(os.getpid(), signal.SIGTERM))
        assert take_interrupt(error)
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


@pytest.mark.parametrize("handler", [signal.SIG_IGN, lambda *_: None])
def test_another_handler_stays(handler) -> None:
    before = signal.signal(signal.SIGINT, handler)
    try:
        with noting_interrupts(), program_interrupts():
            press()
            assert signal.getsignal(signal.SIGINT) is handler
            assert not caused_by_interrupt(SystemError())
    finally:
        signal.signal(signal.SIGINT, before)


def test_another_thread_changes_nothing() -> None:
    seen = []

    def work() -> None:
        with noting_interrupts(), program_interrupts():
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [signal.default_int_handler]


def test_a_program_sees_its_own_hook_of_lost_errors() -> None:
    python = sys.unraisablehook
    with noting_interrupts():
        ours = sys.unraisablehook
        assert ours is not python
        with program_interrupts():
            assert sys.unraisablehook is python
            sys.unraisablehook = print
        assert sys.unraisablehook is ours
    assert sys.unraisablehook is python


def test_a_program_sees_the_default_handler_and_may_have_its_own() -> None:
    default = signal.default_int_handler
    pressed = []
    with noting_interrupts():
        ours = signal.getsignal(signal.SIGINT)
        with program_interrupts():
            assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
            signal.signal(signal.SIGINT, lambda *_: pressed.append(1))
            press()
            assert not caused_by_interrupt(SystemError())
        assert signal.getsignal(signal.SIGINT) is ours
        assert signal.default_int_handler is default
    assert pressed == [1]
    assert signal.getsignal(signal.SIGINT) is default


def test_a_program_that_went_on_after_one_has_faults_of_its_own(monkeypatch) -> None:
    with program_interrupts():
        lose()
        raise_pending()  # the program may have handled it
        assert not caused_by_interrupt(error_of(lambda: 1 / 0))
        error = error_of(fail_in_c)
        assert isinstance(error, SystemError)
        assert caused_by_interrupt(error), "the interrupted line raised it"
        monkeypatch.setattr(interrupts, "RECENT_SECONDS", 0.0)
        assert not caused_by_interrupt(error), "too long ago"


@pytest.mark.tensorflow
def test_what_tensorflow_wraps_is_one(keras) -> None:
    import tensorflow as tf

    def call() -> None:
        tf.py_function(lambda _: press(), [1.0], tf.float32)

    error = error_of(call)
    assert isinstance(error, tf.errors.UnknownError)
    assert caused_by_interrupt(error)
    assert not caused_by_interrupt(tf.errors.UnknownError(None, None, "ValueError: x"))
