"""Runs the rules on the measurements and determines the root cause."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from saldiag.core.errors import SaldiagError
from saldiag.core.findings.diagnosis import Diagnosis, RootCause, SubjectSummary, Verdict
from saldiag.core.findings.finding import SEVERITIES, Finding, Skipped
from saldiag.core.findings.rule import CannotJudge, Rule, Thresholds
from saldiag.core.measurement import Measurements, ProgramPlaces, Source, Wiring
from saldiag.core.suggest import suggestion
from saldiag.rules.engine import registry
from saldiag.rules.engine.per_loss import by_loss
from saldiag.rules.engine.registry import chosen_rules, family_of_code, rule_by_name
from saldiag.rules.engine.root_cause import explained, explains_how_many

Limits = Mapping[str, Mapping[str, float]]


def diagnose(
    measured: Measurements,
    *,
    verdict: Verdict,
    verdict_reason: str = "",
    select: Sequence[str] | None = None,
    ignore: Sequence[str] = (),
    limits: Limits | None = None,
    timings: Mapping[str, float] | None = None,
) -> Diagnosis:
    """Run the rules and rank their findings.

    Args:
        measured: the measurements, and the reasons for missing ones.
        verdict: result of the overfit test or the training.
        verdict_reason: its reason in one sentence.
        select: rules to run, by code, name or start of a code (default: all).
        ignore: rules not to run; they are left out of the diagnosis, not listed as skipped.
        limits: thresholds that replace a rule's own, by rule and threshold.
        timings: seconds by phase, copied into the diagnosis.

    Raises:
        SaldiagError: ``select``, ``ignore`` or ``limits`` names an unknown rule or threshold.
    """
    limited = rules_with_limits(select, ignore, limits)
    outcomes = [_run_rule(rule, measured, thresholds) for rule, thresholds in limited]
    findings = placed([finding for found, _ in outcomes for finding in found], measured)
    findings = _ranked_findings(
        explained(findings, _explained_codes(rule for rule, _ in limited), measured.get(Wiring))
    )
    return Diagnosis(
        subject=_subject_summary(measured.get(Wiring)),
        verdict=verdict,
        verdict_reason=verdict_reason,
        root_cause=_root_cause(findings),
        findings=tuple(findings),
        skipped=tuple(skipped for _, skipped in outcomes if skipped is not None),
        timings=dict(timings or {}),
    )


def _selected_rules(select: Sequence[str] | None, ignore: Sequence[str]) -> list[type[Rule]]:
    selected = frozenset(registry.all_rules()) if select is None else chosen_rules(tuple(select))
    ignored = chosen_rules(tuple(ignore))
    return [rule for rule in registry.all_rules() if rule in selected and rule not in ignored]


def rules_with_limits(
    select: Sequence[str] | None = None, ignore: Sequence[str] = (), limits: Limits | None = None
) -> list[tuple[type[Rule], Thresholds]]:
    """The selected rules, sorted by code, each with its thresholds in effect.

    Raises:
        SaldiagError: ``select``, ``ignore`` or ``limits`` names an unknown rule or threshold.
    """
    changed = {rule_by_name(name): values for name, values in (limits or {}).items()}
    for rule, values in changed.items():
        unknown = sorted(set(values) - set(rule.thresholds))
        if unknown:
            hint = suggestion(unknown[0], list(rule.thresholds))
            raise SaldiagError(f"{rule.code} has no threshold {unknown[0]!r}: {hint}")
    return [
        (rule, {**rule.thresholds, **changed.get(rule, {})})
        for rule in _selected_rules(select, ignore)
    ]


def _run_rule(
    rule: type[Rule], measured: Measurements, limits: Thresholds
) -> tuple[list[Finding], Skipped | None]:
    if rule.compares_losses and measured.changing_loss:
        return [], Skipped(rule.code, measured.changing_loss)
    for kind in rule.requires:
        if measured.get(kind) is None:
            return [], Skipped(rule.code, measured.reason(kind))
    found: list[Finding] = []
    reason: CannotJudge | None = None
    try:
        for part in by_loss(measured) if rule.by_loss else [measured]:
            try:
                found += [f for f in rule().judge(part, limits) if f not in found]
            except CannotJudge as cannot:
                reason = cannot
    except Exception as error:  # a broken rule neither passes nor crashes the run
        text = " ".join(str(error).split())
        return [], Skipped(rule.code, f"error in rule: {type(error).__name__}: {text}")
    unjudged = reason is not None and not found
    return found, Skipped(rule.code, str(reason)) if unjudged else None


def placed(findings: Iterable[Finding], measured: Measurements) -> list[Finding]:
    """The findings, each with the line to change if it has none of its own.

    Findings about the data point to the line that trains; findings about loss, optimizer and
    precision to the line that compiles.
    """
    program = measured.get(ProgramPlaces)
    if program is None:
        return list(findings)
    compiled, trained = program.compiled or program.trained, program.trained
    source_by_family: dict[str | None, Source | None] = {
        "data": trained,
        "outcome": trained,
        "environment": None,
    }
    return [
        finding
        if finding.source is not None
        else replace(finding, source=source_by_family.get(family_of_code(finding.rule), compiled))
        for finding in findings
    ]


def _explained_codes(rules: Iterable[type[Rule]]) -> dict[str, dict[str, str]]:
    return {rule.code: dict(rule.explains) for rule in rules}


def _ranked_findings(findings: Sequence[Finding]) -> list[Finding]:
    """The root cause first, then by severity, code and layers."""
    ordered = sorted(findings, key=lambda f: (SEVERITIES.index(f.severity), f.rule, f.layers))
    roots = [finding for finding in ordered if finding.explained_by is None]
    if not roots:
        return ordered
    first = {rule.code for rule in registry.all_rules() if rule.comes_first}
    root = min(
        roots,
        key=lambda f: (
            SEVERITIES.index(f.severity),
            f.rule not in first,
            -f.confidence,
            -explains_how_many(f, findings),
            f.rule,
            f.layers,
        ),
    )
    return [root, *(finding for finding in ordered if finding is not root)]


def _root_cause(findings: Sequence[Finding]) -> RootCause | None:
    if not findings:
        return None
    first = findings[0]
    return RootCause(first.rule, first.name, first.layers, first.source)


def _subject_summary(wiring: Wiring | None) -> SubjectSummary:
    if wiring is None:
        return SubjectSummary(model="unknown", loss="unknown", parameters=0, trainable_parameters=0)
    return SubjectSummary(wiring.model, wiring.loss, wiring.parameters, wiring.trainable_parameters)
