"""How reports word a verdict, the evidence of a finding, a command line and a diff."""

from __future__ import annotations

import math
import re
import shlex
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from saldiag.core.files.jsonio import dumps
from saldiag.core.findings.diagnosis import Diagnosis, Verdict
from saldiag.core.findings.finding import Finding
from saldiag.core.wording import grouped_number, listed_names, plain, shorten_end, yes_no

MAX_LISTED_ITEMS = 6
"""Items of a list in a finding's evidence; the others are counted, the JSON has all."""

HEADLINES: dict[Verdict, str] = {
    "learns": "{model} learns",
    "does_not_learn": "{model} does not learn",
    "inconclusive": "{model}: no clear verdict",
    "not_tested": "{model}: learning was not tested",
}
"""The headline of each verdict."""


def value_text(value: Any, limit: int = 400) -> str:
    """Any value of a finding's evidence, in at most ``limit`` characters."""
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, bool):
        return yes_no(value)
    if isinstance(value, (int, float)):
        return "NaN" if math.isnan(value) else grouped_number(value)
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
