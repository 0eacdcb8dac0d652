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
from saldiag.core.wording import first_names, grouped_number, shorten_end, visible_text, yes_no

MAX_ITEMS = 6
"""Items of a list in a finding's evidence; the rest is counted, and whole in the JSON."""

HEADLINES: dict[Verdict, str] = {
    "learns": "{model} learns",
    "does_not_learn": "{model} does not learn",
    "inconclusive": "{model}: no clear verdict",
    "not_tested": "{model}: learning was not tested",
}


def value_text(value: Any, limit: int = 400) -> str:
    """A value of a finding's evidence, whatever it is, in at most ``limit`` characters."""
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
            first_names([_nested_value_text(item) for item in items], MAX_ITEMS) or "none", limit
        )
    if isinstance(value, Mapping):
        return shorten_end(
            ", ".join(f"{k}: {_nested_value_text(v)}" for k, v in value.items()), limit
        )
    return shorten_end(dumps(value, indent=None), limit)


def _nested_value_text(value: Any) -> str:
    text = value_text(value)
    return f"({text})" if isinstance(value, (Mapping, list, tuple)) else text


def headline(diagnosis: Diagnosis) -> str:
    """The verdict as a sentence without its full stop: ``quicksal does not learn``."""
    return HEADLINES[diagnosis.verdict].format(model=diagnosis.subject.model)


def shell_command(command: Iterable[str]) -> str:
    """A command line that can be pasted into a shell."""
    return " ".join(_shell_quoted(word) for word in command)


def _shell_quoted(word: str) -> str:
    spelt = visible_text(word)
    if spelt == word:
        return shlex.quote(word)
    # $'…' is how bash, zsh and POSIX.1-2024 write what cannot be seen.
    escaped = re.sub(r"(['\\])", r"\\\1", word)
    return f"$'{visible_text(escaped)}'"


def explained_findings(diagnosis: Diagnosis, code: str) -> list[Finding]:
    """The findings that rule ``code`` explains, one link away."""
    return [f for f in diagnosis.findings if f.explained_by == code and f.rule != code]


def diff_lines(diff: str) -> list[tuple[str, str]]:
    """Each line of a diff, in characters that can be seen, and whether it is added or removed."""
    return [
        (_line_kind(line), visible_text(line.removesuffix("\r"), keep="\t"))
        for line in _diff_lines(diff)
    ]


def _diff_lines(diff: str) -> list[str]:
    return diff.removesuffix("\n").split("\n")


def _line_kind(line: str) -> str:
    if line.startswith(("--- ", "+++ ", "@@ ", "\\ ")):
        return "head"
    return {"+": "added", "-": "removed"}.get(line[:1], "same")
