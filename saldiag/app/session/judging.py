"""Runs the rules on measurements: findings, verdict and tested hypotheses."""

from __future__ import annotations

from collections.abc import Mapping

from saldiag.core.config import RuleSettings
from saldiag.core.findings.diagnosis import Diagnosis, Verdict
from saldiag.core.measurement import Experiments, Measurements


def judge(
    measured: Measurements,
    settings: RuleSettings | None = None,
    *,
    verdict: Verdict | None = None,
    reason: str | None = None,
    timings: Mapping[str, float] | None = None,
) -> Diagnosis:
    """Run the rules, and add the outcomes of the experiments if there were any.

    Args:
        measured: the measurements, and why others are missing.
        settings: the rules that judge, with their thresholds; None for all rules with the default
            thresholds.
        verdict: None for the verdict of the overfit test or of the training curves.
        reason: reason of the verdict, in one sentence; None for the reason of the default verdict.
        timings: seconds by phase, copied into the diagnosis.

    Raises:
        SaldiagError: the settings name a rule or threshold that does not exist.
    """
    from saldiag.rules.engine.engine import diagnose
    from saldiag.rules.verdicts.hypotheses import with_proof
    from saldiag.rules.verdicts.training import verdict_from

    settings = settings or RuleSettings()
    found, why = verdict_from(measured)
    verdict = verdict or found
    reason = (why if verdict == found else "") if reason is None else reason
    diagnosis = diagnose(
        measured,
        verdict=verdict,
        verdict_reason=reason,
        select=settings.select,
        ignore=settings.ignore,
        limits=settings.thresholds,
        timings=timings,
    )
    experiments = measured.get(Experiments)
    return diagnosis if experiments is None else with_proof(diagnosis, experiments)
