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
from saldiag.subject.source.stack_frames import (
    calling_source,
    is_framework_file,
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

    def note_log(self, logger: logging.Logger, message: str) -> None:
        """Record a warning that was logged."""
        silenced = not logger.isEnabledFor(logging.WARNING)
        self._add(f"{logger.name} logger", message, silenced, None)

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


def _frame_at(stacklevel: int) -> FrameType | None:
    frame: FrameType | None = sys._getframe(2)
    for _ in range(max(stacklevel, 1) - 1):
        frame = frame.f_back if frame else None
    return frame


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
            for method in ("warning", "log"):
                stack.enter_context(patched(logger, method, _logged(recorder, logger, method)))
        try:
            yield recorder
        finally:
            recorder.keep_lasting_filters()


def _warn(recorder: WarningRecorder, original: Callable[..., None]) -> Callable[..., None]:
    def warn(
        message: Any, category: Any = None, stacklevel: int = 1, *args: Any, **kw: Any
    ) -> None:
        here = sys._getframe(1)
        if is_framework_file(here.f_code.co_filename):
            kind = type(message) if isinstance(message, Warning) else (category or UserWarning)
            recorder.note_warning(message, kind, _frame_at(stacklevel))
        original(message, category, stacklevel + 1, *args, **kw)

    return warn


def _filter(recorder: WarningRecorder, original: Callable[..., None]) -> Callable[..., None]:
    def install(*args: Any, **kwargs: Any) -> None:
        original(*args, **kwargs)
        recorder.note_filter()

    return install


def _logged(recorder: WarningRecorder, logger: logging.Logger, method: str) -> Callable[..., Any]:
    original = getattr(logger, method)

    def log(*args: Any, **kwargs: Any) -> None:
        level, rest = (logging.WARNING, args) if method == "warning" else (args[0], args[1:])
        if level == logging.WARNING and _from_framework(sys._getframe(1)):
            text = str(rest[0]) % rest[1:] if rest[1:] else str(rest[0])
            recorder.note_log(logger, text)
        original(*args, **kwargs)

    return log


def _from_framework(frame: FrameType | None) -> bool:
    while frame is not None and re.search(r"[/\\](absl|logging)[/\\]", frame.f_code.co_filename):
        frame = frame.f_back
    return frame is not None and is_framework_file(frame.f_code.co_filename)
