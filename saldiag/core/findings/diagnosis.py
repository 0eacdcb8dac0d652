"""The outcome: verdict, root cause, findings. This is what ``diagnosis.json`` holds."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Literal

from saldiag.core.field_types import MAY_BE_ABSENT, Constraint, Count, RuleCode
from saldiag.core.findings.finding import Finding, Severity, Skipped, at_least
from saldiag.core.findings.hypothesis import Hypothesis
from saldiag.core.measurement import Source

Verdict = Literal["learns", "does_not_learn", "inconclusive", "not_tested"]
SCHEMA_VERSION = 1

SchemaVersion = Annotated[int, Constraint(constant=SCHEMA_VERSION)]


@dataclass(frozen=True)
class SubjectSummary:
    """The model that was examined."""

    model: str
    """Name of the model; ``unknown`` if the wiring was not measured."""
    loss: str
    """Name of its loss as in ``Wiring.loss``; ``unknown`` if the wiring was not measured."""
    parameters: Count
    """Number of elements in all its weights."""
    trainable_parameters: Count
    """Number of elements in its trainable weights."""


@dataclass(frozen=True)
class RootCause:
    """The finding that no other finding explains."""

    rule: RuleCode
    """Code of its rule."""
    name: str
    """Name of its rule."""
    layers: tuple[str, ...]
    """Paths of the layers it is about; empty if it is about none in particular."""
    source: Source | None
    """Line of the user's code it is about; None if unknown."""


@dataclass(frozen=True)
class Diagnosis:
    """Verdict, root cause and findings of a run. The same measurements give the same text."""

    schema_version: SchemaVersion = field(default=SCHEMA_VERSION, kw_only=True)
    """Version of the format."""
    subject: SubjectSummary
    """The model that was examined."""
    verdict: Verdict
    """Whether the model learns."""
    verdict_reason: str = field(default="", kw_only=True, metadata=MAY_BE_ABSENT)
    """Reason for the verdict, in one sentence with its numbers; empty if there is none."""
    root_cause: RootCause | None
    """The most severe finding that no other finding explains; None only without findings."""
    findings: tuple[Finding, ...]
    """All findings, the most important first."""
    skipped: tuple[Skipped, ...] = ()
    """Rules that could not judge, which is never a pass."""
    hypotheses: tuple[Hypothesis, ...] = ()
    """Results of the experiments, confirmed hypotheses first."""
    timings: dict[str, float] = field(default_factory=dict)
    """Seconds spent in each phase, by the phase's name."""

    def failed(self, fail_on: Severity = "error") -> bool:
        """Whether the exit code is 1.

        It is if the model does not learn, or a finding has at least the severity ``fail_on``.
        """
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
