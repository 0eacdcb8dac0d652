"""From what is suspected, by findings or by the user in words, to what is tried."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from saldiag.core.errors import SaldiagError
from saldiag.core.findings.finding import Finding, at_least
from saldiag.core.suggest import suggestion
from saldiag.experiments.interventions.base import Intervention, all_interventions
from saldiag.experiments.search.plan import Idea


def meant(text: str) -> tuple[str, ...]:
    """The names of the interventions that a user's suspicion is answered by.

    That is the one of that name, those that answer a rule of that code, or those whose words are
    in the text.

    Raises:
        SaldiagError: nothing answers to it.
    """
    known = all_interventions()
    if text in known:
        return (text,)
    if re.fullmatch(r"(?i)SD\d{3}", text):
        found = [name for name, kind in known.items() if text.upper() in kind.answers]
    else:
        words = text.lower()
        found = [n for n, kind in known.items() if any(_said(word, words) for word in kind.words)]
    if not found:
        raise SaldiagError(
            f"--suspect {text!r}: no experiment answers to it; {suggestion(text, list(known))}"
        )
    return tuple(found)


def _said(word: str, text: str) -> bool:
    """Whether a word, or the start of one, stands in the text."""
    return re.search(rf"(?<![a-z]){re.escape(word)}", text) is not None


def ideas(findings: Iterable[Finding], suspicions: Mapping[str, tuple[str, ...]]) -> list[Idea]:
    """Every intervention as an idea, what is suspected first: by findings, then by the user.

    Notes suspect something only where there is nothing graver.
    """
    found = list(findings)
    told = [f for f in found if at_least(f.severity, "warning")] or found
    grave = list(dict.fromkeys(finding.rule for finding in told))
    made = (_idea(name, kind, grave, suspicions) for name, kind in all_interventions().items())
    return sorted(made, key=_rank)


def _idea(
    name: str,
    kind: type[Intervention],
    grave: list[str],
    suspicions: Mapping[str, tuple[str, ...]],
) -> Idea:
    named_by = [rule for rule in grave if rule in kind.answers]
    words = [text for text, names in suspicions.items() if name in names]
    return Idea(
        name,
        (*named_by, *words),
        grave.index(named_by[0]) if named_by else None,
        kind.mode,
        repairs=not kind.if_restored,
        mends=len(kind.answers),
    )


def _rank(idea: Idea) -> tuple[int, int]:
    if idea.place is not None:
        return 0, idea.place
    return 1 if idea.suspected_by else 2, 0
