"""Which finding explains which: from symptoms to the root cause."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from saldiag.core.findings.finding import SEVERITIES, Finding
from saldiag.core.measurement import Wiring
from saldiag.rules.shared.graph import Network

Explains = Mapping[str, Mapping[str, str]]
"""By rule: the codes that it can explain, and where those findings must be located."""


def explained(
    findings: Sequence[Finding], explains: Explains, wiring: Wiring | None
) -> list[Finding]:
    """The findings, each with the code of the finding that explains it, if there is one.

    Of several explanations, the one nearest to the root is chosen: a finding that is not explained
    itself, then by severity, confidence and code. Rules explain each other without circles (checked
    by a test of the registry), hence findings do too.
    """
    network = Network(wiring) if wiring is not None else None
    causes = [
        [cause for cause in findings if _is_cause(cause, effect, explains, network)]
        for effect in findings
    ]
    unexplained = {id(effect) for effect, found in zip(findings, causes, strict=True) if not found}
    return [
        replace(
            effect, explained_by=min(found, key=lambda f: _distance_to_root(f, unexplained)).rule
        )
        if found
        else effect
        for effect, found in zip(findings, causes, strict=True)
    ]


def _distance_to_root(cause: Finding, unexplained: set[int]) -> tuple[object, ...]:
    """Sort key of an explanation; the nearest to the root comes first."""
    return (
        id(cause) not in unexplained,
        SEVERITIES.index(cause.severity),
        -cause.confidence,
        cause.rule,
    )


def _is_cause(cause: Finding, effect: Finding, explains: Explains, network: Network | None) -> bool:
    where = explains.get(cause.rule, {}).get(effect.rule)
    return where is not None and _is_located(where, cause.layers, effect.layers, network)


def _is_located(
    where: str, causes: Sequence[str], effects: Sequence[str], network: Network | None
) -> bool:
    """Whether one of ``effects`` is located ``where``, seen from ``causes``.

    A finding about the whole model is located everywhere. So is one whose layers are not in the
    wiring: attaching a symptom to the only cause found is better than reporting a second root
    cause.
    """
    if where == "anywhere" or not causes or not effects:
        return True
    if where == "same_layer":
        return any(_same_or_nested(a, b) for a in causes for b in effects)
    if network is None:
        return True
    cause_calls = [path for layer in causes for path in network.calls_of(layer)]
    effect_calls = [path for layer in effects for path in network.calls_of(layer)]
    if not cause_calls or not effect_calls:
        return True
    reach: set[str] = set()
    if where in {"upstream", "same_path"}:
        reach |= network.upstream(cause_calls)
    if where in {"downstream", "same_path"}:
        reach |= network.downstream(cause_calls)
    return not reach.isdisjoint(effect_calls)


def _same_or_nested(one: str, other: str) -> bool:
    """Whether two layers are the same, or one contains the other."""
    return one == other or one.startswith(f"{other}/") or other.startswith(f"{one}/")


def explains_how_many(cause: Finding, findings: Sequence[Finding]) -> int:
    """Number of findings that this one explains, directly or through others."""
    reached, grew = {cause.rule}, True
    while grew:
        more = {f.rule for f in findings if f.explained_by in reached} - reached
        grew = bool(more)
        reached |= more
    return sum(1 for finding in findings if finding.explained_by in reached)
