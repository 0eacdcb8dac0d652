"""What the rules make of what was measured, by the settings that hold."""

from __future__ import annotations

from collections.abc import Mapping

from saldiag.core.config import RuleSettings
from saldiag.core.diagnosis import Diagnosis, Verdict
from saldiag.core.measurement import Experiments, Measurements, OverfitHistory


def judge(
    measured: Measurements,
    settings: RuleSettings | None = None,
    *,
    verdict: Verdict | None = None,
    timings: Mapping[str, float] | None = None,
) -> Diagnosis:
    """Let the rules judge.

    Args:
        measured: the measurements, and why others are missing.
        settings: which rules, and with which thresholds; default: all, with their own.
        verdict: default: what the overfit test came to.
        timings: seconds by phase, handed on.

    Raises:
        SaldiagError: the settings name what does not exist.
    """
    from saldiag.rules.engine import diagnose
    from saldiag.rules.proof import with_proof
    from saldiag.rules.verdict import verdict_of

    settings = settings or RuleSettings()
    diagnosis = diagnose(
        measured,
        verdict=verdict or verdict_of(measured.get(OverfitHistory))[0],
        select=settings.select,
        ignore=settings.ignore,
        limits=settings.thresholds,
        timings=timings,
    )
    experiments = measured.get(Experiments)
    return diagnosis if experiments is None else with_proof(diagnosis, experiments)
