"""Texts and numbers as people read them, the same in every format.

Names of layers, file names and warnings come from the user's program. They go through ``plain``
before they reach a terminal, a page or a plot.
"""

from __future__ import annotations

import math
import re
import shlex
import unicodedata
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from saldiag.core.files.jsonio import dumps
from saldiag.core.findings.diagnosis import Diagnosis, Verdict
from saldiag.core.findings.finding import Finding
from saldiag.core.measurement import Source

MAX_LISTED_ITEMS = 6
"""Items of a list in a finding's evidence; the others are counted, the JSON has all."""

NO_VALUE = "\N{EN DASH}"
"""Shown instead of a number that does not exist."""

HEADLINES: dict[Verdict, str] = {
    "learns": "{model} learns",
    "does_not_learn": "{model} does not learn",
    "inconclusive": "{model}: no clear verdict",
    "not_tested": "{model}: learning was not tested",
}
"""The headline of each verdict."""

_INVISIBLE_CATEGORIES = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
# Zero-width joiners are part of scripts and emoji, and reorder nothing.
_SHAPING = {"\u200c", "\u200d"}


def plain(text: str, keep: str = "") -> str:
    r"""``text`` with every invisible character escaped (``\n``, ``\x1b``, ``\u202e``).

    Control characters move the cursor, and bidirectional overrides reorder the text (Trojan Source,
    Boucher and Anderson, USENIX Security 2023). Lone surrogates cannot be encoded.

    Args:
        text: any text.
        keep: invisible characters that are not escaped.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(c if c in keep or _is_visible(c) else _escape_sequence(c) for c in text)


def _is_visible(character: str) -> bool:
    return character in _SHAPING or unicodedata.category(character) not in _INVISIBLE_CATEGORIES


def _escape_sequence(character: str) -> str:
    return character.encode("unicode_escape", "backslashreplace").decode("ascii")


def plain_lines(text: str) -> str:
    """``plain`` for text of several lines: keeps line ends and tabs."""
    return plain(text.replace("\r\n", "\n"), keep="\n\t")


def shorten_middle(text: str, limit: int) -> str:
    """``plain`` text of at most ``limit`` characters; the middle is left out."""
    text = plain(text)
    if len(text) <= limit:
        return text
    tail = (limit - 1) * 2 // 3  # the end of a path says more than its start
    return f"{text[: limit - 1 - tail]}…{text[len(text) - tail :]}"


def shorten_end(text: str, limit: int) -> str:
    """``plain`` text of at most ``limit`` characters; the last words are left out."""
    text = plain(text)
    if len(text) <= limit:
        return text
    start = text[: limit - 1]
    words, space, _ = start.rpartition(" ")
    return (words if space and len(words) > limit // 2 else start) + "…"


def number(value: float | None, digits: int = 3) -> str:
    """A short number: ``0``, ``0.156``, ``3,812,345``, ``1.2e-05``; a dash for None and NaN."""
    if value is None or math.isnan(value):
        return NO_VALUE
    if math.isinf(value):
        return "∞" if value > 0 else "-∞"
    if float(value).is_integer() and abs(value) < 1e15:
        return f"{int(value):,}"
    if 1e3 <= abs(value) < 1e6:
        return f"{value:,.1f}"
    return f"{value:.{digits}g}"


def score_text(value: float | None) -> str:
    """A metric in [0, 1] with three decimals, as in papers; a dash for None and NaN."""
    return NO_VALUE if value is None or math.isnan(value) else f"{value:.3f}"


def share_text(value: float | None) -> str:
    """A share in [0, 1] as a percentage; only 1 is 100 %, and only 0 is 0 %."""
    if value is None or math.isnan(value):
        return NO_VALUE
    if value in (0, 1):
        return f"{value:.0%}"
    return f"{min(max(value, 0.001), 0.999):.1%}"


def size_text(count: float) -> str:
    """A number of bytes with a binary unit."""
    for unit in ("B", "KiB", "MiB"):
        if abs(count) < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} GiB"


def yes_no(value: bool | None) -> str:
    """``yes``, ``no``, or a dash for None."""
    return NO_VALUE if value is None else ("yes" if value else "no")


def value_text(value: Any, limit: int = 400) -> str:
    """Any value of a finding's evidence, in at most ``limit`` characters."""
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, bool):
        return yes_no(value)
    if isinstance(value, (int, float)):
        return "NaN" if math.isnan(value) else number(value)
    if isinstance(value, str):
        return shorten_end(value, limit)
    if isinstance(value, (list, tuple, set, frozenset, np.ndarray)):
        items = sorted(value) if isinstance(value, (set, frozenset)) else list(value)
        return shorten_end(
            listed_names([_item_text(item) for item in items], MAX_LISTED_ITEMS) or "none", limit
        )
    if isinstance(value, Mapping):
        return shorten_end(", ".join(f"{k}: {_item_text(v)}" for k, v in value.items()), limit)
    return shorten_end(dumps(value, indent=None), limit)


def _item_text(value: Any) -> str:
    text = value_text(value)
    return f"({text})" if isinstance(value, (Mapping, list, tuple)) else text


def file_and_line(source: Source | None) -> str:
    """``file:line``; empty for None."""
    return f"{source.file}:{source.line}" if source else ""


def listed_names(names: Iterable[str], limit: int = 3) -> str:
    """``a, b, c and 4 more``; the empty name is the model's."""
    listed = [name or "(model)" for name in names]
    more = len(listed) - limit
    return ", ".join(listed[:limit]) + (f" and {more:,} more" if more > 0 else "")


def counted(amount: int, noun: str) -> str:
    """``1 finding``, ``2 findings``."""
    return f"{amount:,} {noun}{'' if amount == 1 else 's'}"


def verdict_headline(diagnosis: Diagnosis) -> str:
    """The verdict as a sentence without a full stop: ``quicksal does not learn``."""
    return HEADLINES[diagnosis.verdict].format(model=diagnosis.subject.model)


def shell_command(command: Iterable[str]) -> str:
    """A command line, quoted for a shell."""
    return " ".join(_quoted_word(word) for word in command)


def _quoted_word(word: str) -> str:
    visible = plain(word)
    if visible == word:
        return shlex.quote(word)
    # $'…' is the syntax of bash, zsh and POSIX.1-2024 for escape sequences.
    escaped = re.sub(r"(['\\])", r"\\\1", word)
    return f"$'{plain(escaped)}'"


def findings_explained_by(diagnosis: Diagnosis, code: str) -> list[Finding]:
    """The findings that a finding of rule ``code`` explains directly."""
    return [f for f in diagnosis.findings if f.explained_by == code and f.rule != code]


def diff_lines(diff: str) -> list[tuple[str, str]]:
    """Each line of a diff: its kind (``added``, ``removed``, ``head``, ``same``), and its text."""
    return [
        (_diff_line_kind(line), plain(line.removesuffix("\r"), keep="\t"))
        for line in _lines_of_diff(diff)
    ]


def _lines_of_diff(diff: str) -> list[str]:
    return diff.removesuffix("\n").split("\n")


def _diff_line_kind(line: str) -> str:
    if line.startswith(("--- ", "+++ ", "@@ ", "\\ ")):
        return "head"
    return {"+": "added", "-": "removed"}.get(line[:1], "same")
