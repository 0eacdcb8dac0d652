"""What experiments prove: hypotheses judged by their training curves. Pure functions of numbers.

An intervention is compared with the control from the same initial weights, on the same batches.
The uncertainty of the difference comes from a bootstrap over seeds and, within each seed, over
items (Davison & Hinkley, Bootstrap Methods and their Application, 1997, section 3.8): items of one
training depend on each other, so whole trainings are drawn first.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from saldiag.core.findings.diagnosis import Diagnosis
from saldiag.core.findings.finding import Finding
from saldiag.core.findings.hypothesis import (
    CHANGES_NOTHING,
    RESTORED,
    Hypothesis,
    HypothesisOutcome,
)
from saldiag.core.measurement import Arm, Curve, Experiments
from saldiag.core.wording import counted

LIMITS: dict[str, float] = {
    "seeds": 3,
    "restored": RESTORED,
    "memorised": 0.9,
    "short": 0.75,
    "effect": 0.3,
    "margin": 0.05,
    "confidence": 0.95,
}
"""Thresholds of an outcome.

``seeds``: trainings that must agree. ``restored``: score from which on a model learns; the control
must stay below it. ``effect``: least difference between the two, for the lower end of the interval
at level ``confidence``. ``margin``: smaller differences count as none (an equivalence margin:
Schuirmann, 1987). ``memorised``: score from which on the items are memorised, as the overfit test's
10 % of the baseline error. ``short``: a model whose score stops rising at or below this has learned
at most part; a change that a finding suggests is confirmed if it raises the score from there to
``memorised``.
"""

BOOTSTRAP_DRAWS = 2000


def with_proof(diagnosis: Diagnosis, found: Experiments) -> Diagnosis:
    """The diagnosis with its hypotheses, and with the findings that they confirm.

    A finding is confirmed by the first confirmed hypothesis that answers its rule.
    """
    judged = hypotheses(found)
    confirmed = [hypothesis for hypothesis in judged if hypothesis.outcome == "confirmed"]

    def proven(finding: Finding) -> Finding:
        names = [h.name for h in confirmed if finding.rule in h.answers]
        return replace(finding, confirmed_by=names[0]) if names else finding

    return replace(
        diagnosis,
        findings=tuple(proven(finding) for finding in diagnosis.findings),
        hypotheses=judged,
    )


def learns(arm: Arm, limits: Mapping[str, float] = LIMITS) -> bool:
    """Whether every training of the arm reproduces at least half of the variation to learn."""
    return bool(arm.curves) and all(final(c, arm.mode) >= limits["restored"] for c in arm.curves)


def final(curve: Curve, mode: str = "training") -> float:
    """The final score; -inf if numbers became non-finite."""
    value = curve.inference_score if mode == "inference" else curve.score[-1]
    return -math.inf if math.isnan(value) else value


def hypotheses(found: Experiments, limits: Mapping[str, float] = LIMITS) -> tuple[Hypothesis, ...]:
    """Every hypothesis with its outcome: confirmed ones first, the most informative on top."""
    judged = [
        (judged_arm(found.control_of(arm), arm, limits, proven=found.proven), arm)
        for arm in found.arms
    ]
    ranked = [h for h, arm in sorted(judged, key=lambda pair: _rank(*pair))]
    if found.ended != "decided":
        return tuple(ranked)
    restored = any(h.outcome == "confirmed" for h in ranked)
    control_learns = bool(found.controls) and learns(found.controls[-1], limits)
    return tuple(
        replace(h, reason=f"not tried: {_why_untried(h, restored, control_learns)}")
        if h.reason == LEFT_OUT
        else h
        for h in ranked
    )


def _why_untried(hypothesis: Hypothesis, restored: bool, control_learns: bool) -> str:
    """Why the hypothesis was not tried although time was left."""
    if restored:
        return "another change restores learning"
    if control_learns:
        return "the unchanged model learns in training mode"
    if hypothesis.mode == "inference":
        return "the model does not learn in training mode either"
    return UNPROVEN


def judged_arm(
    control: Arm | None, arm: Arm, limits: Mapping[str, float] = LIMITS, *, proven: bool = True
) -> Hypothesis:
    """One arm compared with the control; ``proven``: a test has shown that the control fails."""
    common: dict[str, Any] = {
        "name": arm.name,
        "hypothesis": arm.states,
        "intervention": arm.told,
        "layers": arm.layers,
        "answers": arm.answers,
        "suspected_by": arm.suspected_by,
        "parts": arm.parts,
        "mode": arm.mode,
    }
    if arm.reason is not None:
        return Hypothesis(**common, outcome="not applicable", reason=arm.reason)
    pairs = paired(control, arm) if control is not None else []
    if not pairs:
        return Hypothesis(**common, outcome="undecided", reason=LEFT_OUT)
    numbers = _statistics(arm, pairs, limits)
    outcome, reason = _outcome_and_reason(arm, pairs, numbers["interval"], limits)
    if outcome == "confirmed" and not (proven or arm.suspected_by or stands_still(control)):
        outcome, reason = "undecided", UNPROVEN
    return Hypothesis(**common, outcome=outcome, reason=reason, **numbers)


LEFT_OUT = "the budget ended before it was tried"
UNPROVEN = "no test has shown that the unchanged model fails to minimise its own loss"
"""A critic's or a similarity loss is not about the targets, which the score is computed from."""


def stands_still(control: Arm | None) -> bool:
    """Whether every training of the control stopped without progress."""
    stuck = ("nothing moves", "non-finite", "fails")
    return control is not None and all(curve.stopped in stuck for curve in control.curves)


def hangs_on_seeds(control: Arm | None, arm: Arm, limits: Mapping[str, float] = LIMITS) -> bool:
    """Whether the arm learns from every seed, and the control from fewer than half of them."""
    pairs = paired(control, arm) if control is not None else []
    arm_learns, control_fails = _arm_learns_control_fails(arm, pairs, limits)
    return bool(pairs) and all(arm_learns) and 2 * sum(control_fails) > len(pairs)


def _arm_learns_control_fails(
    arm: Arm, pairs: Sequence[tuple[Curve, Curve]], limits: Mapping[str, float]
) -> tuple[list[bool], list[bool]]:
    """For each seed: whether the arm learns, and whether the control fails to."""
    return (
        [final(after, arm.mode) >= limits["restored"] for _, after in pairs],
        [final(before, arm.mode) < limits["restored"] for before, _ in pairs],
    )


def paired(control: Arm, arm: Arm) -> list[tuple[Curve, Curve]]:
    """Control and intervention for the same seeds, if both trainings ran to their end."""
    controls = {curve.seed: curve for curve in control.curves if curve.stopped != "budget"}
    return [
        (controls[curve.seed], curve)
        for curve in arm.curves
        if curve.seed in controls and curve.stopped != "budget"
    ]


def _statistics(
    arm: Arm, pairs: Sequence[tuple[Curve, Curve]], limits: Mapping[str, float]
) -> dict[str, Any]:
    ends = [(final(c, arm.mode), final(a, arm.mode)) for c, a in pairs]
    errors = [(c.error[-1], a.error[-1]) for c, a in pairs]
    return {
        "seeds": len(pairs),
        "restored": sum(after >= limits["restored"] for _, after in ends),
        "steps": max(a.steps[-1] for _, a in pairs),
        "score": _mean_pair(ends),
        "error": _mean_pair(errors),
        "effect": float(
            np.mean([_at_least_zero(after) - _at_least_zero(before) for before, after in ends])
        ),
        "interval": interval(pairs, arm.mode, limits["confidence"]),
    }


def _mean_pair(values: Sequence[tuple[float, float]]) -> tuple[float, float]:
    before, after = np.mean(np.array(values), axis=0)
    return float(before), float(after)


def _at_least_zero(score: float) -> float:
    """The score, at least 0: predictions worse than ignoring the input have learned no less."""
    return max(0.0, score)


def interval(
    pairs: Sequence[tuple[Curve, Curve]], mode: str = "training", confidence: float = 0.95
) -> tuple[float, float]:
    """Bootstrap interval of the difference in score: seeds are drawn, then items within each."""
    random = np.random.default_rng(0)
    drawn = np.array([_score_differences(*pair, mode, random) for pair in pairs])
    which = random.integers(0, len(pairs), size=(len(pairs), BOOTSTRAP_DRAWS))
    means = np.take_along_axis(drawn, which, axis=0).mean(axis=0)
    tail = (1 - confidence) / 2
    low, high = np.quantile(means, [tail, 1 - tail])
    return float(low), float(high)


def _score_differences(control: Curve, arm: Curve, mode: str, random: np.random.Generator) -> Any:
    """Differences in score for resampled items, the same ones in both if they have equally many."""
    before, after = _missed_shares(control, mode), _missed_shares(arm, mode)
    items = random.integers(0, before.size, size=(BOOTSTRAP_DRAWS, before.size))
    others = (
        items
        if after.size == before.size
        else random.integers(0, after.size, (BOOTSTRAP_DRAWS, after.size))
    )
    scores = [1.0 - part[which].mean(axis=1) for part, which in ((before, items), (after, others))]
    return np.maximum(0.0, scores[1]) - np.maximum(0.0, scores[0])


def _missed_shares(curve: Curve, mode: str) -> Any:
    """What each item misses (N); 1 in total if numbers are not finite."""
    missed = np.array(curve.inference_missed if mode == "inference" else curve.missed)
    return missed if missed.size and np.isfinite(missed).all() else np.ones(1)


def _outcome_and_reason(
    arm: Arm,
    pairs: Sequence[tuple[Curve, Curve]],
    bounds: tuple[float, float],
    limits: Mapping[str, float],
) -> tuple[HypothesisOutcome, str]:
    arm_learns, control_fails = _arm_learns_control_fails(arm, pairs, limits)
    restored = sum(
        after and before for after, before in zip(arm_learns, control_fails, strict=True)
    )
    low, high = bounds
    enough = len(pairs) >= limits["seeds"]
    if all(arm_learns) and 2 * restored > len(pairs) and low >= limits["effect"]:
        if not arm.suspected_by and all(_still_rises(c, limits) for c, _ in pairs):
            return "undecided", "the unchanged model learns too, but slowly"
        return _outcome_of_restoring(arm, restored, len(pairs), enough)
    if enough and low > limits["margin"] and _memorises_beyond_standstill(arm, pairs, limits):
        return "confirmed", "all items are memorised, while the unchanged model stops improving"
    if restored:
        return "undecided", f"learning is restored in {restored} of {counted(len(pairs), 'seed')}"
    if not enough:
        return "undecided", f"it does not restore learning from {counted(len(pairs), 'seed')}"
    return _outcome_without_restoring(arm, max(abs(low), abs(high)) <= limits["margin"])


def _outcome_without_restoring(arm: Arm, same: bool) -> tuple[HypothesisOutcome, str]:
    if same:
        return ("refuted" if arm.suspected_by else "no difference"), CHANGES_NOTHING
    return "refuted", "it makes a difference, and does not restore learning"


def _memorises_beyond_standstill(
    arm: Arm, pairs: Sequence[tuple[Curve, Curve]], limits: Mapping[str, float]
) -> bool:
    """Whether a suspected change memorises the items where the unchanged model stops improving."""
    return bool(arm.suspected_by and not arm.if_restored) and all(
        final(after, arm.mode) >= limits["memorised"]
        and final(before, arm.mode) <= limits["short"]
        and not _still_rises(before, limits)
        for before, after in pairs
    )


def _still_rises(control: Curve, limits: Mapping[str, float]) -> bool:
    """Whether the control's score rose in the second half of its training."""
    half = next(i for i, step in enumerate(control.steps) if 2 * step >= control.steps[-1])
    return (
        _at_least_zero(control.score[-1]) - _at_least_zero(control.score[half]) > limits["margin"]
    )


def _outcome_of_restoring(
    arm: Arm, restored: int, seeds: int, enough: bool
) -> tuple[HypothesisOutcome, str]:
    if arm.if_restored:
        return "undecided", arm.if_restored
    if not enough:
        return (
            "undecided",
            f"it restores learning, but only {counted(seeds, 'seed')} could be trained",
        )
    if restored < seeds:
        unchanged = f"the unchanged model learns in {seeds - restored} of {seeds} seeds"
        return "confirmed", f"{unchanged}, the changed one in all"
    return "confirmed", f"learning is restored in {seeds} of {seeds} seeds"


_OUTCOME_ORDER = ("confirmed", "undecided", "refuted", "no difference", "not applicable")


def _rank(hypothesis: Hypothesis, arm: Arm) -> tuple[Any, ...]:
    """Sort key: confirmed first, then the severest finding, fewest changes, largest effect."""
    effect = hypothesis.effect if math.isfinite(hypothesis.effect) else -math.inf
    return (
        _OUTCOME_ORDER.index(hypothesis.outcome),
        arm.place is None,
        arm.place or 0,
        not hypothesis.suspected_by,
        len(hypothesis.parts),
        -round(effect, 2),
        hypothesis.name,
    )
