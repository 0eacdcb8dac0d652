"""Which finding explains which: from symptoms to the root cause."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from saldiag.core.findings.finding import SEVERITIES, Finding
from saldiag.core.measurement import Wiring
from saldiag.rules.shared.graph import Network

Explains = Mapping[str, Mapping[str, str]]
"""By rule: the codes it can explain, and where those findings must stand."""


def explained(
    findings: Sequence[Finding], explains: Explains, wiring: Wiring | None
) -> list[Finding]:
    """The findings, each with the code of the one that explains it, if any does.

    Where several do, the nearest to the root is named: one that nothing explains itself, then the
    graver, the surer, the lower code. Rules explain each other without circles (a test of the
    registry sees to that), hence so do findings.
    """
    network = Network(wiring) if wiring is not None else None
    causes = [
        [cause for cause in findings if _is_cause(cause, effect, explains, network)]
        for effect in findings
    ]
    free = {id(effect) for effect, found in zip(findings, causes, strict=True) if not found}
    return [
        replace(effect, explained_by=min(found, key=lambda f: _distance(f, free)).rule)
        if found
        else effect
        for effect, found in zip(findings, causes, strict=True)
    ]


def _distance(cause: Finding, free: set[int]) -> tuple[object, ...]:
    return (id(cause) not in free, SEVERITIES.index(cause.severity), -cause.confidence, cause.rule)


def _is_cause(cause: Finding, effect: Finding, explains: Explains, network: Network | None) -> bool:
    where = explains.get(cause.rule, {}).get(effect.rule)
    return where is not None and _stands(where, cause.layers, effect.layers, network)


def _stands(
    where: str, causes: Sequence[str], effects: Sequence[str], network: Network | None
) -> bool:
    """Whether one of ``effects`` stands ``where``, seen from ``causes``.

    A finding about the model as a whole stands everywhere; so does one whose layers the wiring
    does not know, since a symptom is then better tied to the one cause found than called another.
    """
    if where == "anywhere" or not causes or not effects:
        return True
    if where == "same_layer":
        return any(_same(a, b) for a in causes for b in effects)
    if network is None:
        return True
    ours = [path for layer in causes for path in network.calls_of(layer)]
    theirs = [path for layer in effects for path in network.calls_of(layer)]
    if not ours or not theirs:
        return True
    reach: set[str] = set()
    if where in {"upstream", "same_path"}:
        reach |= network.upstream(ours)
    if where in {"downstream", "same_path"}:
        reach |= network.downstream(ours)
    return not reach.isdisjoint(theirs)


def _same(one: str, other: str) -> bool:
    """Whether two layers are the same, or one holds the other."""
    return one == other or one.startswith(f"{other}/") or other.startswith(f"{one}/")


def explains_how_many(cause: Finding, findings: Sequence[Finding]) -> int:
    """How many findings name this one's rule, directly or through others."""
    reached, grew = {cause.rule}, True
    while grew:
        more = {f.rule for f in findings if f.explained_by in reached} - reached
        grew = bool(more)
        reached |= more
    return sum(1 for finding in findings if finding.explained_by in reached)
