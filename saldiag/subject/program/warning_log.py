"""Recording the framework's warnings, including those that the program's filters hide.

A filter hides a warning before any hook of the ``warnings`` module sees it, so ``warnings.warn``
itself is wrapped. Whether a filter hides a warning is computed from the same list that Python uses
(PEP 230). Calls that add filters are recorded, because findings name their lines.
"""

from __future__ import annotations

import logging
import re
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from types import FrameType
from typing import Any

from saldiag.core.measurement import RecordedWarning, Source, WarningLog
from saldiag.core.patching import patched
from saldiag.keras_internals.names import ADVICE_MODULE
from saldiag.subject.program.script import run_as_main
from saldiag.subject.source.stack_frames import (
    calling_source,
    is_framework_file,
    is_saldiag_file,
    source_of_frame,
    user_frame,
)

LOGGER_NAMES = ("tensorflow", "absl")
"""Loggers that the framework warns through."""
_WarningKey = tuple[str, str, str, int]


class WarningRecorder:
    """Collects the warnings of Keras and TensorFlow."""

    def __init__(self) -> None:
        self._seen: dict[_WarningKey, RecordedWarning] = {}
        self._filters: list[tuple[Any, Source | None]] = []
        self._silencing: list[Source] = []

    def warning_log(self) -> WarningLog:
        """The measurement of the warnings so far, in order of first appearance."""
        return WarningLog(tuple(self._seen.values()), tuple(dict.fromkeys(self._silencing)))

    def keep_lasting_filters(self) -> None:
        """Report only filters that are still installed; a temporary one silences little."""
        self._silencing = [
            source
            for rule, source in self._filters
            if source is not None
            and _silences_advice(rule)
            and any(f is rule for f in warnings.filters)
        ]

    def note_filter(self) -> None:
        """Record the user's line that has just added the first filter of the list."""
        if warnings.filters:
            self._filters.append((warnings.filters[0], calling_source()))

    def note_warning(self, message: Any, category: type[Warning], frame: FrameType | None) -> None:
        """Record a warning that is attributed to ``frame`` by its stack level."""
        rule = _applied_filter(str(message), category, frame)
        silenced = rule is not None and rule[0] == "ignore"
        self._add(category.__name__, str(message), silenced, self._filter_source(rule))

    def note_log(self, logger: str, message: str, *, silenced: bool) -> None:
        """Record a warning that was logged, or would have been at a lower level."""
        self._add(f"{logger} logger", message, silenced, None)

    def _add(self, category: str, message: str, silenced: bool, by: Source | None) -> None:
        # Frame 0 is this method, 1 its caller in this class, 2 the wrapper of ``warn`` or ``log``.
        source = source_of_frame(user_frame(sys._getframe(2))) or Source("", 0)
        key = (category, message, source.file, source.line)
        known = self._seen.get(key)
        self._seen[key] = (
            replace(known, count=known.count + 1, silenced=known.silenced or silenced)
            if known
            else RecordedWarning(
                category, message, source.file, source.line, silenced, 1, by if silenced else None
            )
        )

    def _filter_source(self, rule: Any) -> Source | None:
        """The user's line that added a filter; None if it was not recorded."""
        sources = (source for known, source in reversed(self._filters) if known is rule)
        return next(sources, None)


def _silences_advice(rule: Any) -> bool:
    """Whether a filter hides every UserWarning of Keras."""
    action, text, kind, module, line = rule
    named = module is None or _matches_pattern(module, ADVICE_MODULE)
    whole = text is None and issubclass(UserWarning, kind) and line == 0
    return bool(action == "ignore" and whole and named)


def _applied_filter(message: str, category: type[Warning], frame: FrameType | None) -> Any:
    """The filter that Python applies: the first whose five parts all match; None if none does."""
    module = frame.f_globals.get("__name__", "<unknown>") if frame else "sys"
    line = frame.f_lineno if frame else 1
    for rule in warnings.filters:
        _, text, kind, name, number = rule
        if (
            _matches_pattern(text, message)
            and issubclass(category, kind)
            and _matches_pattern(name, module)
            and number in (0, line)
        ):
            return rule
    return None


def _matches_pattern(pattern: Any, text: str) -> bool:
    if pattern is None:
        return True
    compiled = re.compile(pattern) if isinstance(pattern, str) else pattern
    return compiled.match(text) is not None


_OUTSIDE = 1_000_000
"""A stack level that no stack has: the warning is attributed to ``sys``."""


def _frame_at(stacklevel: int) -> tuple[FrameType | None, int]:
    """The frame that a stack level points at, and the level that reaches it from the wrapper.

    saldiag's own frames do not count, and nothing is outside of the program.
    """
    frame: FrameType | None = sys._getframe(2)
    left, level = max(stacklevel, 1), 2
    ours = is_saldiag_file(sys._getframe(2).f_code.co_filename)
    while frame is not None:
        if frame.f_code is run_as_main.__code__:
            return None, _OUTSIDE
        skipped = not ours and is_saldiag_file(frame.f_code.co_filename)
        if not skipped and not _is_internal(frame):
            left -= 1
        if left == 0:
            return frame, level
        level += 0 if _is_internal(frame) else 1
        frame = frame.f_back
    return None, level


def _is_internal(frame: FrameType) -> bool:
    """Whether ``warnings.warn`` does not count a frame: it belongs to the import system."""
    name = frame.f_code.co_filename
    return "importlib" in name and "_bootstrap" in name


@contextmanager
def recording_warnings() -> Iterator[WarningRecorder]:
    """Record the framework's warnings until the block ends; the program sees no difference."""
    recorder = WarningRecorder()
    with ExitStack() as stack:
        stack.enter_context(patched(warnings, "warn", _warn(recorder, warnings.warn)))
        for name in ("filterwarnings", "simplefilter"):
            wrapper = _filter(recorder, getattr(warnings, name))
            stack.enter_context(patched(warnings, name, wrapper))
        for name in LOGGER_NAMES:
            logger = logging.getLogger(name)
            stack.enter_context(patched(logger, "isEnabledFor", _noted(recorder, logger)))
        try:
            yield recorder
        finally:
            recorder.keep_lasting_filters()


def _warn(recorder: WarningRecorder, original: Callable[..., None]) -> Callable[..., None]:
    def warn(
        message: Any, category: Any = None, stacklevel: int = 1, *args: Any, **kw: Any
    ) -> None:
        here = sys._getframe(1)
        frame, level = _frame_at(stacklevel)
        if is_framework_file(here.f_code.co_filename):
            kind = type(message) if isinstance(message, Warning) else (category or UserWarning)
            recorder.note_warning(message, kind, frame)
        original(message, category, level, *args, **kw)

    return warn


def _filter(recorder: WarningRecorder, original: Callable[..., None]) -> Callable[..., None]:
    def install(*args: Any, **kwargs: Any) -> None:
        original(*args, **kwargs)
        recorder.note_filter()

    return install


def _noted(recorder: WarningRecorder, logger: logging.Logger) -> Callable[[int], bool]:
    """A replacement of ``isEnabledFor``, which every message asks first.

    A wrapper of ``warning`` would be a frame between it and its caller, whom loggers name.
    """
    original = logger.isEnabledFor

    def is_enabled_for(level: int) -> bool:
        enabled = original(level)
        asking = sys._getframe(1)
        if level == logging.WARNING and asking.f_code in _LOGGING_CODE and _from_framework(asking):
            text = _formatted(asking.f_locals.get("msg"), asking.f_locals.get("args", ()))
            recorder.note_log(logger.name, text, silenced=not enabled)
        return enabled

    return is_enabled_for


def _formatted(message: object, values: Any) -> str:
    """A logged message with its values; without them if they do not fit."""
    try:
        return logging.LogRecord("", 0, "", 0, message, values, None).getMessage()
    except Exception:  # logging reports the mistake itself
        return str(message)


_LOGGING_CODE = (logging.Logger.warning.__code__, logging.Logger.log.__code__)


def _from_framework(frame: FrameType | None) -> bool:
    while frame is not None and re.search(r"[/\\](absl|logging)[/\\]", frame.f_code.co_filename):
        frame = frame.f_back
    return frame is not None and is_framework_file(frame.f_code.co_filename)
