"""The base class of rules, which judge plain numbers.

A rule declares which measurements it needs; where one is missing it is *skipped* with the reason,
never passed. It declares its thresholds as data, and which other rules it can explain.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, Literal

from saldiag.core.findings.edit import Edit
from saldiag.core.findings.finding import Finding, Severity
from saldiag.core.measurement import (
    Measurement,
    Measurements,
    ProgramPlaces,
    Source,
    Wiring,
)

Where = Literal["anywhere", "same_layer", "same_path", "upstream", "downstream"]
"""Position of an explained finding relative to the layer of the finding that explains it.

``same_path``: up- or downstream.
"""

Thresholds = Mapping[str, float]


class Rule(ABC):
    """One check. Its docstring is its documentation, under fixed headings.

    The first line is the title. The headings are ``What it does``, ``Why is this bad``,
    ``Example``, ``Use instead`` and ``Threshold`` (with the source: paper, year).
    """

    code: ClassVar[str]
    name: ClassVar[str]
    severity: ClassVar[Severity]
    requires: ClassVar[tuple[type[Measurement], ...]]
    thresholds: ClassVar[dict[str, float]] = {}
    explains: ClassVar[dict[str, Where]] = {}
    by_loss: ClassVar[bool] = False
    """Whether a model with different losses for its outputs is judged once for each of them."""
    compares_losses: ClassVar[bool] = False
    """Whether losses of different steps are compared, which needs a loss without a state."""
    comes_first: ClassVar[bool] = False
    """Whether a finding of this rule is the root cause among those of its severity."""

    @abstractmethod
    def judge(self, measured: Measurements, limits: Thresholds) -> Iterable[Finding]:
        """Yield the findings in ``measured``; ``limits`` holds this rule's thresholds.

        All of ``requires`` is present when this is called. A rule that learns only here that it
        cannot judge raises ``CannotJudge`` with the reason.
        """

    def finding(
        self,
        message: str,
        fix: str,
        *,
        layers: Iterable[str] = (),
        evidence: dict[str, Any] | None = None,
        source: Source | None = None,
        severity: Severity | None = None,
        confidence: float = 1.0,
        edits: Iterable[Edit] = (),
    ) -> Finding:
        """A finding of this rule; ``edits`` only where they are certain."""
        return Finding(
            rule=self.code,
            name=self.name,
            severity=severity or self.severity,
            message=message,
            fix=fix,
            layers=tuple(layers),
            confidence=confidence,
            evidence=evidence or {},
            source=source,
            edits=tuple(edits),
        )


class CannotJudge(Exception):  # noqa: N818 - an outcome, not an error
    """A rule cannot judge; the message is the reason, shown as *skipped*."""


def source_of(measured: Measurements, layer: str) -> Source | None:
    """Line that creates the layer in the user's code, if the wiring has it."""
    wiring = measured.get(Wiring)
    if wiring is None:
        return None
    return next((c.source for c in wiring.calls if c.layer == layer and c.source), None)


def compile_source(measured: Measurements, layer: str | None) -> Source | None:
    """Line of ``compile``, for faults that are fixed there; else the line of ``layer``."""
    program = measured.get(ProgramPlaces)
    if program is not None and program.compiled is not None:
        return program.compiled
    return source_of(measured, layer) if layer is not None else None
