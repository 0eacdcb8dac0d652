"""The outcome *cannot be measured*, and one-line summaries of exceptions."""

from __future__ import annotations

import re

_ANSI_COLORS = re.compile(r"\x1b\[[0-9;]*m")

_NODE_NAMES = re.compile(r"\{\{(function_)?node [^}]*\}\}")

_STACK_TRACE_LINE = re.compile(r"(Detected at node|<stack traces|File \"|\[\[)")
"""Lines of a TensorFlow message that lead to the place in the graph."""

_EXCEPTION_NAME = re.compile(r"[\w.]*(Error|Exception): ")
"""A line that starts with the name of an exception."""


class CannotMeasure(Exception):  # noqa: N818 - a normal outcome, not a failure
    """A quantity cannot be measured for this model; ``reason`` is one line for the user."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def error_summary(error: BaseException) -> str:
    """The point of an exception in one line of at most 300 characters.

    Keras and TensorFlow often put it behind colour codes, node names or a stack trace.
    """
    text = _NODE_NAMES.sub("", _ANSI_COLORS.sub("", str(error)))
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if not lines:
        return type(error).__name__
    if lines[0].startswith("Exception encountered when calling") and len(lines) > 1:
        lines[0] = f"{lines[0].removeprefix('Exception encountered when calling ')} {lines[1]}"
    if lines[0].startswith("Graph execution error"):
        messages = [line for line in lines[1:] if not _STACK_TRACE_LINE.match(line)]
        named = [line for line in messages if _EXCEPTION_NAME.match(line)]
        lines = [*named, *messages, lines[0]]
    return lines[0][:300]
