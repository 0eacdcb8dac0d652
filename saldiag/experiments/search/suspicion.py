"""From suspicions, of findings or in the user's words, to ranked interventions."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from saldiag.core.errors import SaldiagError
from saldiag.core.findings.finding import Finding, at_least
from saldiag.core.suggest import suggestion
from saldiag.experiments.interventions.base import Intervention, all_interventions
from saldiag.experiments.search.plan import Candidate


def interventions_for_words(text: str) -> tuple[str, ...]:
    """Names of the interventions that test a user's suspicion.

    Args:
        text: the name of an intervention, a rule code such as ``SD101``, or free text that is
            searched for the interventions' words.

    Raises:
        SaldiagError: no intervention matches; the message suggests the closest name.
    """
    known = all_interventions()
    if text in known:
        return (text,)
    if re.fullmatch(r"(?i)SD\d{3}", text):
        found = [name for name, each in known.items() if text.upper() in each.answers]
    else:
        lowered = text.lower()
        found = [
            name
            for name, each in known.items()
            if any(_contains_word_start(start, lowered) for start in each.words)
        ]
    if not found:
        raise SaldiagError(
            f"--suspect {text!r}: no experiment matches; {suggestion(text, list(known))}"
        )
    return tuple(found)


def _contains_word_start(start: str, text: str) -> bool:
    """Whether a word of the text begins with ``start``; both are lower-case."""
    return re.search(rf"(?<![a-z]){re.escape(start)}", text) is not None


def ranked_candidates(
    findings: Iterable[Finding], suspicions: Mapping[str, tuple[str, ...]]
) -> list[Candidate]:
    """Every intervention as a candidate: those that findings suggest first, then the user's.

    Args:
        findings: the findings, the root cause first. Notes count only if there is nothing more
            severe.
        suspicions: the user's words, each with the names of the interventions that test them.
    """
    found = list(findings)
    severe = [finding for finding in found if at_least(finding.severity, "warning")] or found
    rules = list(dict.fromkeys(finding.rule for finding in severe))
    candidates = (
        _make_candidate(name, intervention, rules, suspicions)
        for name, intervention in all_interventions().items()
    )
    return sorted(candidates, key=_candidate_rank)


def _make_candidate(
    name: str,
    intervention: type[Intervention],
    rules: list[str],
    suspicions: Mapping[str, tuple[str, ...]],
) -> Candidate:
    suggested_by = [rule for rule in rules if rule in intervention.answers]
    words = [text for text, names in suspicions.items() if name in names]
    return Candidate(
        name,
        (*suggested_by, *words),
        rules.index(suggested_by[0]) if suggested_by else None,
        intervention.mode,
        repairs=not intervention.if_restored,
        rule_count=len(intervention.answers),
    )


def _candidate_rank(candidate: Candidate) -> tuple[int, int]:
    if candidate.finding_rank is not None:
        return 0, candidate.finding_rank
    return 1 if candidate.suspected_by else 2, 0
