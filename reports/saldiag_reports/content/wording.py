"""Words and numbers as people read them, the same in every format.

Layer names, file names and warnings are somebody else's text. ``plain`` is the one gate that it
passes on its way to a terminal, a page or a picture.
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

MAX_ITEMS = 6
"""Items of a list in a finding's evidence; the rest is counted, and whole in the JSON."""

NONE = "\N{EN DASH}"
"""Stands where there is no number."""

HEADLINES: dict[Verdict, str] = {
    "learns": "{model} learns",
    "does_not_learn": "{model} does not learn",
    "inconclusive": "{model}: no clear verdict",
    "not_tested": "{model}: learning was not tested",
}

_UNSEEN = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
# A zero-width joiner and variation selectors shape real scripts and emoji, and reorder nothing.
_SHAPING = {"\u200c", "\u200d"}


def plain(text: str, keep: str = "") -> str:
    r"""``text`` with every unseen character spelt out (``\n``, ``\x1b``, ``\u202e``).

    Control characters move cursors and bidirectional overrides reorder what is read (Trojan
    Source, Boucher and Anderson, USENIX Security 2023); lone surrogates cannot be encoded.

    Args:
        text: anything.
        keep: characters to leave as they are.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(c if c in keep or _seen(c) else _spelt(c) for c in text)


def _seen(character: str) -> bool:
    return character in _SHAPING or unicodedata.category(character) not in _UNSEEN


def _spelt(character: str) -> str:
    return character.encode("unicode_escape", "backslashreplace").decode("ascii")


def lines(text: str) -> str:
    """``plain`` for text of several lines: line ends and tabs stay."""
    return plain(text.replace("\r\n", "\n"), keep="\n\t")


def shorten(text: str, limit: int) -> str:
    """``plain`` text of at most ``limit`` characters; the middle gives way, both ends stay."""
    text = plain(text)
    if len(text) <= limit:
        return text
    tail = (limit - 1) * 2 // 3  # the end of a path tells more than its start
    return f"{text[: limit - 1 - tail]}…{text[len(text) - tail :]}"


def cut(text: str, limit: int) -> str:
    """``plain`` text of at most ``limit`` characters; the end gives way, at a word if it can."""
    text = plain(text)
    if len(text) <= limit:
        return text
    kept = text[: limit - 1]
    words, space, _ = kept.rpartition(" ")
    return (words if space and len(words) > limit // 2 else kept) + "…"


def number(value: float | None, digits: int = 3) -> str:
    """A number, briefly: ``0``, ``0.156``, ``3,812,345``, ``1.2e-05``; a dash for none."""
    if value is None or math.isnan(value):
        return NONE
    if math.isinf(value):
        return "∞" if value > 0 else "-∞"
    if float(value).is_integer() and abs(value) < 1e15:
        return f"{int(value):,}"
    if 1e3 <= abs(value) < 1e6:
        return f"{value:,.1f}"
    return f"{value:.{digits}g}"


def score(value: float | None) -> str:
    """A metric in [0, 1] with the three decimals that papers report; a dash for none."""
    return NONE if value is None or math.isnan(value) else f"{value:.3f}"


def share(value: float | None) -> str:
    """A share in [0, 1] as a percentage that never rounds up to all or down to none."""
    if value is None or math.isnan(value):
        return NONE
    if value in (0, 1):
        return f"{value:.0%}"
    return f"{min(max(value, 0.001), 0.999):.1%}"


def size(count: float) -> str:
    """Bytes with a binary unit."""
    for unit in ("B", "KiB", "MiB"):
        if abs(count) < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} GiB"


def yes_no(value: bool | None) -> str:
    """``yes``, ``no``, or a dash where it is not known."""
    return NONE if value is None else ("yes" if value else "no")


def value_text(value: Any, limit: int = 400) -> str:
    """A value of a finding's evidence, whatever it is, in at most ``limit`` characters."""
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, bool):
        return yes_no(value)
    if isinstance(value, (int, float)):
        return "NaN" if math.isnan(value) else number(value)
    if isinstance(value, str):
        return cut(value, limit)
    if isinstance(value, (list, tuple, set, frozenset, np.ndarray)):
        items = sorted(value) if isinstance(value, (set, frozenset)) else list(value)
        return cut(naming([_item(item) for item in items], MAX_ITEMS) or "none", limit)
    if isinstance(value, Mapping):
        return cut(", ".join(f"{k}: {_item(v)}" for k, v in value.items()), limit)
    return cut(dumps(value, indent=None), limit)


def _item(value: Any) -> str:
    text = value_text(value)
    return f"({text})" if isinstance(value, (Mapping, list, tuple)) else text


def place(source: Source | None) -> str:
    """``file:line``, or nothing."""
    return f"{source.file}:{source.line}" if source else ""


def naming(names: Iterable[str], limit: int = 3) -> str:
    """The first few names and how many more there are; the model itself has the empty name."""
    listed = [name or "(model)" for name in names]
    more = len(listed) - limit
    return ", ".join(listed[:limit]) + (f" and {more:,} more" if more > 0 else "")


def count(amount: int, noun: str) -> str:
    """``1 finding``, ``2 findings``."""
    return f"{amount:,} {noun}{'' if amount == 1 else 's'}"


def headline(diagnosis: Diagnosis) -> str:
    """The verdict as a sentence without its full stop: ``quicksal does not learn``."""
    return HEADLINES[diagnosis.verdict].format(model=diagnosis.subject.model)


def typed(command: Iterable[str]) -> str:
    """A command line that can be pasted into a shell."""
    return " ".join(_quoted(word) for word in command)


def _quoted(word: str) -> str:
    spelt = plain(word)
    if spelt == word:
        return shlex.quote(word)
    # $'…' is how bash, zsh and POSIX.1-2024 write what cannot be seen.
    escaped = re.sub(r"(['\\])", r"\\\1", word)
    return f"$'{plain(escaped)}'"


def children(diagnosis: Diagnosis, code: str) -> list[Finding]:
    """The findings that rule ``code`` explains, one link away."""
    return [f for f in diagnosis.findings if f.explained_by == code and f.rule != code]


def diff_lines(diff: str) -> list[tuple[str, str]]:
    """Each line of a diff, in characters that can be seen, and whether it is added or removed."""
    return [(_side(line), plain(line.removesuffix("\r"), keep="\t")) for line in _split(diff)]


def _split(diff: str) -> list[str]:
    return diff.removesuffix("\n").split("\n")


def _side(line: str) -> str:
    if line.startswith(("--- ", "+++ ", "@@ ", "\\ ")):
        return "head"
    return {"+": "added", "-": "removed"}.get(line[:1], "same")
