"""Recording the error that ended a program: its text, the user's line, the layers it names."""

from __future__ import annotations

import linecache
import re
import traceback
from collections.abc import Mapping

from saldiag.core.measurement import During, ProgramError, Source
from saldiag.subject.source.stack_frames import display_path, is_user_file

MAX_MESSAGE_CHARACTERS = 4000
"""Length of a recorded message; of a longer one, the beginning and the end are kept."""

_ANSI_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_STACK_LINE = re.compile(r'^\s*File ".*", line \d+, in .*$')


def program_error(
    error: BaseException | None,
    layer_sources: Mapping[str, Source],
    *,
    compat: bool = False,
    during: During = "program",
) -> ProgramError:
    """The measurement of an error that ended a program.

    Args:
        error: the error; None if the program ended without one.
        layer_sources: where the program created its layers, by layer name.
        compat: whether the program ran with ``--compat``.
        during: what the error ended.
    """
    if error is None:
        return ProgramError()
    from saldiag.subject.compat.recognise import find_rename

    # The StopIteration of TensorFlow's iterators is empty; its context has the message.
    context = error.__context__ if isinstance(error, StopIteration) else None
    message = _single_line(str(error) or str(context or ""))
    frame = _user_frame(error)
    renamed = find_rename(error, _statement_text(frame))
    return ProgramError(
        error=type(error).__name__,
        message=message,
        source=_source_of(frame),
        layers={name: at for name, at in layer_sources.items() if _names_layer(message, name)},
        outdated=renamed.advice if renamed else "",
        bridged=bool(renamed and renamed.is_bridged and not compat),
        during=during,
    )


def _single_line(text: str) -> str:
    """``text`` as one line, without colour codes and the stack traces TensorFlow adds to it."""
    kept = [line for line in _ANSI_COLOUR.sub("", text).splitlines() if not _STACK_LINE.match(line)]
    line = " ".join(" ".join(kept).split())
    if len(line) <= MAX_MESSAGE_CHARACTERS:
        return line
    return f"{line[: MAX_MESSAGE_CHARACTERS // 2]} … {line[-MAX_MESSAGE_CHARACTERS // 2 :]}"


def _user_frame(error: BaseException) -> traceback.FrameSummary | None:
    """The innermost frame of the user's code; frames of compiled libraries have no line."""
    frames = traceback.extract_tb(error.__traceback__)
    return next((one for one in reversed(frames) if one.line and is_user_file(one.filename)), None)


def _source_of(frame: traceback.FrameSummary | None) -> Source | None:
    if frame is None:
        return None
    line = frame.lineno or 0
    return Source(
        display_path(frame.filename), line, linecache.getline(frame.filename, line).strip()
    )


def _statement_text(frame: traceback.FrameSummary | None) -> str:
    """The source text of the frame's statement, which may span several lines."""
    if frame is None or frame.lineno is None:
        return ""
    last = max(frame.lineno, frame.end_lineno or 0)
    return "".join(
        linecache.getline(frame.filename, line) for line in range(frame.lineno, last + 1)
    )


def _names_layer(message: str, layer: str) -> bool:
    """Whether a message contains a layer's name as a whole word."""
    return re.search(rf"(?<![\w.]){re.escape(layer)}(?!\w)", message) is not None
