"""Numbers, counts, names and source lines as text.

Two styles exist. Messages of rules and of the command line use ``number``, ``counted`` and
``listed``. Reports group the digits of large numbers and show a dash for a missing value:
``grouped_number``, ``grouped_count``, ``listed_names``.

Layer names, file names and warnings are the user's text and may hold anything. ``printable`` and
``plain`` are the gates that such text passes.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Iterable
from pathlib import Path, PurePath

from saldiag.core.measurement import Source

MAX_NAME_CHARACTERS = 80
MODEL = "the model"
"""Stands for the empty path."""

NO_VALUE = "\N{EN DASH}"
"""Stands for a missing number."""

_INVISIBLE_CATEGORIES = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
# A zero-width joiner and variation selectors shape real scripts and emoji, and reorder nothing.
_SHAPING = {"\u200c", "\u200d"}


# Numbers


def number(value: float) -> str:
    """A number with three significant digits; whole numbers below a million are shown in full."""
    if not math.isfinite(value):
        return "NaN" if math.isnan(value) else ("inf" if value > 0 else "-inf")
    if value == round(value) and abs(value) < 1e6:
        return f"{value:.0f}" if value else "0"
    return f"{value:.3g}"


def grouped_number(value: float | None, digits: int = 3) -> str:
    """``0``, ``0.156``, ``3,812,345``, ``1.2e-05``; a dash for None and NaN."""
    if value is None or math.isnan(value):
        return NO_VALUE
    if math.isinf(value):
        return "∞" if value > 0 else "-∞"
    if float(value).is_integer() and abs(value) < 1e15:
        return f"{int(value):,}"
    if 1e3 <= abs(value) < 1e6:
        return f"{value:,.1f}"
    return f"{value:.{digits}g}"


def percent(share: float) -> str:
    """A share in [0, 1] as a percentage: ``12.3 %``."""
    return f"{100 * share:.3g} %"


def share_text(value: float | None) -> str:
    """A share in [0, 1] as a percentage that is not rounded to 0% or 100%; a dash for none."""
    if value is None or math.isnan(value):
        return NO_VALUE
    if value in (0, 1):
        return f"{value:.0%}"
    return f"{min(max(value, 0.001), 0.999):.1%}"


def score_text(value: float | None) -> str:
    """A metric in [0, 1] with the three decimals that papers report; a dash for none."""
    return NO_VALUE if value is None or math.isnan(value) else f"{value:.3f}"


def size_text(count: float) -> str:
    """Bytes with a binary unit: ``1.5 MiB``."""
    for unit in ("B", "KiB", "MiB"):
        if abs(count) < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} GiB"


def yes_no(value: bool | None) -> str:
    """``yes`` or ``no``; a dash if unknown."""
    return NO_VALUE if value is None else ("yes" if value else "no")


# Counts and lists


def counted(count: int, noun: str) -> str:
    """``1 layer``, ``2000 layers``."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def grouped_count(amount: int, noun: str) -> str:
    """``1 finding``, ``2,000 findings``."""
    return f"{amount:,} {noun}{'' if amount == 1 else 's'}"


def listed(paths: Iterable[str], most: int = 3) -> str:
    """The first names as ``a, b and c``, or ``a, b, c and 2 more``; each is passed to ``label``."""
    names = [label(path) for path in paths]
    shown = names[:most]
    if len(names) > most:
        return f"{', '.join(shown)} and {len(names) - most} more"
    return " and ".join(filter(None, (", ".join(shown[:-1]), *shown[-1:])))


def listed_names(names: Iterable[str], limit: int = 3) -> str:
    """The first names as ``a, b, c``, or ``a, b, c and 2 more``; ``(model)`` for an empty one."""
    shown = [name or "(model)" for name in names]
    more = len(shown) - limit
    return ", ".join(shown[:limit]) + (f" and {more:,} more" if more > 0 else "")


# Other people's text


def printable(text: str | Path) -> str:
    """``text`` on one line, safe for a terminal and for UTF-8.

    Control characters, newlines, text-direction marks and undecodable bytes of file names become
    backslash escapes; everything that ``str.isprintable`` accepts is kept.
    """
    return "".join(c if c.isprintable() else _escape_sequence(c) for c in str(text))


def masked(text: str, mask: str = "?") -> str:
    """``text`` with ``mask`` for each character that ``str.isprintable`` does not accept."""
    return "".join(c if c.isprintable() else mask for c in text)


def plain(text: str, keep: str = "") -> str:
    r"""``text`` with an escape for each invisible character (``\n``, ``\x1b``, ``\u202e``).

    Control characters move cursors and bidirectional overrides reorder what is read (Trojan
    Source, Boucher and Anderson, USENIX Security 2023); lone surrogates cannot be encoded. Unlike
    ``printable``, it keeps what shapes real scripts and emoji, and spaces of other widths.

    Args:
        text: anything.
        keep: characters to leave as they are.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(c if c in keep or _is_visible(c) else _escape_sequence(c) for c in text)


def _is_visible(character: str) -> bool:
    return character in _SHAPING or unicodedata.category(character) not in _INVISIBLE_CATEGORIES


def _escape_sequence(character: str) -> str:
    return character.encode("unicode_escape", "backslashreplace").decode("ascii")


def plain_lines(text: str) -> str:
    """``plain`` for text of several lines: line ends and tabs stay."""
    return plain(text.replace("\r\n", "\n"), keep="\n\t")


def shorten_middle(text: str, limit: int) -> str:
    """``plain`` of at most ``limit`` characters; the middle is left out."""
    text = plain(text)
    if len(text) <= limit:
        return text
    tail = (limit - 1) * 2 // 3  # the end of a path says more than its start
    return f"{text[: limit - 1 - tail]}…{text[len(text) - tail :]}"


def shorten_end(text: str, limit: int) -> str:
    """``plain`` of at most ``limit`` characters; the end is left out, from a space on."""
    text = plain(text)
    if len(text) <= limit:
        return text
    kept = text[: limit - 1]
    words, space, _ = kept.rpartition(" ")
    return (words if space and len(words) > limit // 2 else kept) + "…"


# Layers and source lines


def label(path: str) -> str:
    """A layer's path in at most 80 printable characters: names come from the user's program."""
    if not path:
        return MODEL
    clean = masked(path)
    if len(clean) <= MAX_NAME_CHARACTERS:
        return clean
    return f"…{clean[1 - MAX_NAME_CHARACTERS :]}"


def file_and_line(source: Source | None) -> str:
    """``file:line`` with the whole path; empty if the source is unknown."""
    return f"{source.file}:{source.line}" if source else ""


def short_file_and_line(source: Source | None) -> str:
    """``folder/file.py:line``; empty if the source is unknown."""
    if source is None or not source.file:
        return ""
    return f"{label('/'.join(PurePath(source.file).parts[-2:]))}:{source.line}"


def at_line(source: Source | None) -> str:
    """``: folder/file.py:line`` for the end of a sentence; empty if the source is unknown."""
    return f": {short_file_and_line(source)}" if short_file_and_line(source) else ""
