"""What is known of the error that ended a program: plain text, the user's line, the layers."""

from __future__ import annotations

import linecache
import re
import traceback
from collections.abc import Mapping

from saldiag.core.measurement import During, ProgramError, Source
from saldiag.subject.source.stack_frames import display_path, is_user

MAX_MESSAGE_CHARACTERS = 4000
"""Characters of a message that are kept; what matters stands at its beginning or at its end."""

_ANSI_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_STACK_LINE = re.compile(r'^\s*File ".*", line \d+, in .*$')


def program_error(
    error: BaseException | None,
    made: Mapping[str, Source],
    *,
    compat: bool = False,
    during: During = "program",
) -> ProgramError:
    """What can be said of an error without judging it.

    Args:
        error: what ended the program; None if nothing did.
        made: where the program made its layers, by their names.
        compat: whether what older versions had was bridged already.
        during: what ended with it.
    """
    if error is None:
        return ProgramError()
    from saldiag.subject.compat.recognise import find_rename

    # TensorFlow's iterators end with an error of their own behind Python's.
    behind = error.__context__ if isinstance(error, StopIteration) else None
    message = _single_line(str(error) or str(behind or ""))
    frame = _user_frame(error)
    renamed = find_rename(error, _statement_text(frame))
    return ProgramError(
        error=type(error).__name__,
        message=message,
        source=_source_of(frame),
        layers={name: at for name, at in made.items() if _names_layer(message, name)},
        outdated=renamed.advice if renamed else "",
        bridged=bool(renamed and renamed.bridged and not compat),
        during=during,
    )


def _single_line(text: str) -> str:
    """One line, without colours and the stacks that TensorFlow writes into its messages."""
    kept = [line for line in _ANSI_COLOUR.sub("", text).splitlines() if not _STACK_LINE.match(line)]
    line = " ".join(" ".join(kept).split())
    if len(line) <= MAX_MESSAGE_CHARACTERS:
        return line
    return f"{line[: MAX_MESSAGE_CHARACTERS // 2]} … {line[-MAX_MESSAGE_CHARACTERS // 2 :]}"


def _user_frame(error: BaseException) -> traceback.FrameSummary | None:
    """The innermost frame of the user's own code; compiled libraries have frames without a line."""
    frames = traceback.extract_tb(error.__traceback__)
    return next((one for one in reversed(frames) if one.line and is_user(one.filename)), None)


def _source_of(frame: traceback.FrameSummary | None) -> Source | None:
    if frame is None:
        return None
    line = frame.lineno or 0
    return Source(
        display_path(frame.filename), line, linecache.getline(frame.filename, line).strip()
    )


def _statement_text(frame: traceback.FrameSummary | None) -> str:
    """The text of a statement, which can have many lines."""
    if frame is None or frame.lineno is None:
        return ""
    last = max(frame.lineno, frame.end_lineno or 0)
    return "".join(
        linecache.getline(frame.filename, line) for line in range(frame.lineno, last + 1)
    )


def _names_layer(message: str, layer: str) -> bool:
    """Whether a message names a layer, as a word."""
    return re.search(rf"(?<![\w.]){re.escape(layer)}(?!\w)", message) is not None
