"""The outcome: verdict, root cause, findings. This is what ``diagnosis.json`` holds."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from saldiag.core.findings.finding import Finding, Severity, Skipped, at_least
from saldiag.core.findings.hypothesis import Hypothesis
from saldiag.core.measurement import Source

Verdict = Literal["learns", "does_not_learn", "inconclusive", "not_tested"]
SCHEMA_VERSION = 1


@dataclass(frozen=True)
class SubjectSummary:
    """What was examined."""

    model: str
    loss: str
    parameters: int
    trainable_parameters: int


@dataclass(frozen=True)
class RootCause:
    """The finding that no other one explains."""

    rule: str
    name: str
    layers: tuple[str, ...]
    source: Source | None


@dataclass(frozen=True)
class Diagnosis:
    """Verdict, root cause and findings of a run, sorted: the same numbers give the same text."""

    schema_version: int = field(default=SCHEMA_VERSION, kw_only=True)
    subject: SubjectSummary
    verdict: Verdict
    verdict_reason: str = field(default="", kw_only=True)
    """Why that verdict, in one sentence with its numbers; empty where there is none."""
    root_cause: RootCause | None
    findings: tuple[Finding, ...]
    skipped: tuple[Skipped, ...] = ()
    hypotheses: tuple[Hypothesis, ...] = ()
    timings: dict[str, float] = field(default_factory=dict)

    def failed(self, fail_on: Severity = "error") -> bool:
        """Whether the exit code is 1: a finding at or above ``fail_on``, or nothing is learnt."""
        if self.verdict == "does_not_learn":
            return True
        return any(at_least(finding.severity, fail_on) for finding in self.findings)

    def root_finding(self) -> Finding | None:
        """The finding behind ``root_cause``."""
        if self.root_cause is None:
            return None
        cause = self.root_cause
        return next(
            (f for f in self.findings if f.rule == cause.rule and f.layers == cause.layers), None
        )
