"""What experiments prove: hypotheses judged by their curves. Pure functions of numbers.

An intervention is compared with the control from the same starts, on the same batches. How far the
difference could be chance is told by a bootstrap over seeds and, within each, over items (Davison &
Hinkley, Bootstrap Methods and their Application, 1997, section 3.8): items of one training depend
on each other, so whole trainings are drawn first.
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

LIMITS: dict[str, float] = {
    "seeds": 3,
    "restored": RESTORED,
    "memorised": 0.9,
    "short": 0.75,
    "effect": 0.3,
    "margin": 0.05,
    "confidence": 0.95,
}
"""What an outcome rests on.

``seeds``: trainings that have to agree. ``restored``: score from which on a model learns, and under
which the control has to stay. ``effect``: how far apart the two have to be with certainty, the
lower end of the interval at that ``confidence``. ``margin``: differences within it are none (an
equivalence margin: Schuirmann, 1987). ``memorised``: score at which a training has shown that it
can, as the overfit test's 10 % of the baseline. A model that comes to a standstill at ``short`` or
under it may have learnt half: what a finding names is at fault all the same, where its remedy leads
on from there to the end.
"""

DRAWS = 2000


def with_proof(diagnosis: Diagnosis, found: Experiments) -> Diagnosis:
    """The diagnosis with its hypotheses, and with what they confirm.

    A finding is confirmed by the first hypothesis that is and that answers to its rule.
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
    """Whether every training of the arm reproduces half of what there is to learn."""
    return bool(arm.curves) and all(final(c, arm.mode) >= limits["restored"] for c in arm.curves)


def final(curve: Curve, mode: str = "training") -> float:
    """The score at the end; -inf where numbers were not finite any more."""
    value = curve.inference_score if mode == "inference" else curve.score[-1]
    return -math.inf if math.isnan(value) else value


def hypotheses(found: Experiments, limits: Mapping[str, float] = LIMITS) -> tuple[Hypothesis, ...]:
    """Every hypothesis with its outcome: confirmed ones first, the most telling one on top."""
    judged = [
        (judged_arm(found.control_of(arm), arm, limits, proven=found.proven), arm)
        for arm in found.arms
    ]
    ranked = [h for h, arm in sorted(judged, key=lambda pair: _rank(*pair))]
    if found.ended != "decided":
        return tuple(ranked)
    restored = any(h.outcome == "confirmed" for h in ranked)
    learnt = bool(found.controls) and learns(found.controls[-1], limits)
    return tuple(
        replace(h, reason=f"not tried: {_why_untried(h, restored, learnt)}")
        if h.reason == LEFT_OUT
        else h
        for h in ranked
    )


def _why_untried(hypothesis: Hypothesis, restored: bool, learnt: bool) -> str:
    """Why it was not tried although there was time for it."""
    if restored:
        return "another change restores learning"
    if learnt:
        return "in training mode the model learns as it is"
    if hypothesis.mode == "inference":
        return "the model does not learn in training mode either"
    return UNPROVEN


def judged_arm(
    control: Arm | None, arm: Arm, limits: Mapping[str, float] = LIMITS, *, proven: bool = True
) -> Hypothesis:
    """One arm against the control; ``proven``: a test has shown that this one does not learn."""
    told: dict[str, Any] = {
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
        return Hypothesis(**told, outcome="not applicable", reason=arm.reason)
    pairs = paired(control, arm) if control is not None else []
    if not pairs:
        return Hypothesis(**told, outcome="undecided", reason=LEFT_OUT)
    numbers = _numbers(arm, pairs, limits)
    outcome, reason = _outcome(arm, pairs, numbers["interval"], limits)
    if outcome == "confirmed" and not (proven or arm.suspected_by or stands_still(control)):
        outcome, reason = "undecided", UNPROVEN
    return Hypothesis(**told, outcome=outcome, reason=reason, **numbers)


LEFT_OUT = "the budget ended before it was tried"
UNPROVEN = "no test has shown that the model as it is does not learn what its own loss asks for"
"""A critic or a similarity is not after the targets themselves, which the score goes by."""


def stands_still(control: Arm | None) -> bool:
    """Whether no training of the model as it is goes on at all."""
    stuck = ("nothing moves", "non-finite", "fails")
    return control is not None and all(curve.stopped in stuck for curve in control.curves)


def hangs_on_seeds(control: Arm | None, arm: Arm, limits: Mapping[str, float] = LIMITS) -> bool:
    """Whether the arm learns from every seed, and the control from fewer than half of them."""
    pairs = paired(control, arm) if control is not None else []
    learnt, needed = _learnt(arm, pairs, limits)
    return bool(pairs) and all(learnt) and 2 * sum(needed) > len(pairs)


def _learnt(
    arm: Arm, pairs: Sequence[tuple[Curve, Curve]], limits: Mapping[str, float]
) -> tuple[list[bool], list[bool]]:
    """Of each seed: whether the arm learns, and whether the control does not."""
    return (
        [final(after, arm.mode) >= limits["restored"] for _, after in pairs],
        [final(before, arm.mode) < limits["restored"] for before, _ in pairs],
    )


def paired(control: Arm, arm: Arm) -> list[tuple[Curve, Curve]]:
    """Control and intervention from the same seeds, as far as both were trained to their end."""
    controls = {curve.seed: curve for curve in control.curves if curve.stopped != "budget"}
    return [
        (controls[curve.seed], curve)
        for curve in arm.curves
        if curve.seed in controls and curve.stopped != "budget"
    ]


def _numbers(
    arm: Arm, pairs: Sequence[tuple[Curve, Curve]], limits: Mapping[str, float]
) -> dict[str, Any]:
    ends = [(final(c, arm.mode), final(a, arm.mode)) for c, a in pairs]
    errors = [(c.error[-1], a.error[-1]) for c, a in pairs]
    return {
        "seeds": len(pairs),
        "restored": sum(after >= limits["restored"] for _, after in ends),
        "steps": max(a.steps[-1] for _, a in pairs),
        "score": _means(ends),
        "error": _means(errors),
        "effect": float(np.mean([_bounded(after) - _bounded(before) for before, after in ends])),
        "interval": interval(pairs, arm.mode, limits["confidence"]),
    }


def _means(values: Sequence[tuple[float, float]]) -> tuple[float, float]:
    before, after = np.mean(np.array(values), axis=0)
    return float(before), float(after)


def _bounded(score: float) -> float:
    """Worse than ignoring the input is as bad as ignoring it: nothing is learnt either way."""
    return max(0.0, score)


def interval(
    pairs: Sequence[tuple[Curve, Curve]], mode: str = "training", confidence: float = 0.95
) -> tuple[float, float]:
    """Bootstrap interval of the difference in score: seeds are drawn, then items within each."""
    random = np.random.default_rng(0)
    drawn = np.array([_differences(*pair, mode, random) for pair in pairs])
    which = random.integers(0, len(pairs), size=(len(pairs), DRAWS))
    means = np.take_along_axis(drawn, which, axis=0).mean(axis=0)
    tail = (1 - confidence) / 2
    low, high = np.quantile(means, [tail, 1 - tail])
    return float(low), float(high)


def _differences(control: Curve, arm: Curve, mode: str, random: np.random.Generator) -> Any:
    """Differences in score, items drawn anew: the same ones of both where both have the same."""
    before, after = _missed(control, mode), _missed(arm, mode)
    items = random.integers(0, before.size, size=(DRAWS, before.size))
    others = (
        items if after.size == before.size else random.integers(0, after.size, (DRAWS, after.size))
    )
    scores = [1.0 - part[which].mean(axis=1) for part, which in ((before, items), (after, others))]
    return np.maximum(0.0, scores[1]) - np.maximum(0.0, scores[0])


def _missed(curve: Curve, mode: str) -> Any:
    """What each item misses; all there is to learn, where numbers are not finite."""
    missed = np.array(curve.inference_missed if mode == "inference" else curve.missed)
    return missed if missed.size and np.isfinite(missed).all() else np.ones(1)


def _outcome(
    arm: Arm,
    pairs: Sequence[tuple[Curve, Curve]],
    bounds: tuple[float, float],
    limits: Mapping[str, float],
) -> tuple[HypothesisOutcome, str]:
    learnt, needed = _learnt(arm, pairs, limits)
    restored = sum(after and before for after, before in zip(learnt, needed, strict=True))
    low, high = bounds
    enough = len(pairs) >= limits["seeds"]
    if all(learnt) and 2 * restored > len(pairs) and low >= limits["effect"]:
        if not arm.suspected_by and all(_still_rises(c, limits) for c, _ in pairs):
            return "undecided", "the model learns as it is, if slowly"
        return _restored(arm, restored, len(pairs), enough)
    if enough and low > limits["margin"] and _goes_on(arm, pairs, limits):
        return "confirmed", "all is memorised, where the model as it is comes to a standstill"
    if restored:
        return "undecided", f"learning is restored in {restored} of {_seeds(len(pairs))}"
    if not enough:
        return "undecided", f"from {_seeds(len(pairs))} it does not restore learning"
    return _no_cure(arm, max(abs(low), abs(high)) <= limits["margin"])


def _no_cure(arm: Arm, same: bool) -> tuple[HypothesisOutcome, str]:
    if same:
        return ("refuted" if arm.suspected_by else "no difference"), CHANGES_NOTHING
    return "refuted", "it makes a difference, and does not restore learning"


def _goes_on(arm: Arm, pairs: Sequence[tuple[Curve, Curve]], limits: Mapping[str, float]) -> bool:
    """Whether a suspected change leads on from where the model comes to a standstill as it is."""
    return bool(arm.suspected_by and not arm.if_restored) and all(
        final(after, arm.mode) >= limits["memorised"]
        and final(before, arm.mode) <= limits["short"]
        and not _still_rises(before, limits)
        for before, after in pairs
    )


def _still_rises(control: Curve, limits: Mapping[str, float]) -> bool:
    """Whether the second half of the control's training was not without use."""
    half = next(i for i, step in enumerate(control.steps) if 2 * step >= control.steps[-1])
    return _bounded(control.score[-1]) - _bounded(control.score[half]) > limits["margin"]


def _restored(arm: Arm, restored: int, seeds: int, enough: bool) -> tuple[HypothesisOutcome, str]:
    if arm.if_restored:
        return "undecided", arm.if_restored
    if not enough:
        return "undecided", f"it restores learning, but only {_seeds(seeds)} could be trained"
    if restored < seeds:
        by_luck = f"the model as it is learns in {seeds - restored} of {seeds} seeds"
        return "confirmed", f"{by_luck}, with it in all"
    return "confirmed", f"learning is restored in {seeds} of {seeds} seeds"


def _seeds(count: int) -> str:
    return f"{count} seed" if count == 1 else f"{count} seeds"


_ORDER = ("confirmed", "undecided", "refuted", "no difference", "not applicable")


def _rank(hypothesis: Hypothesis, arm: Arm) -> tuple[Any, ...]:
    """Confirmed first; of those what the gravest finding named, the fewest changes, the effect."""
    effect = hypothesis.effect if math.isfinite(hypothesis.effect) else -math.inf
    return (
        _ORDER.index(hypothesis.outcome),
        arm.place is None,
        arm.place or 0,
        not hypothesis.suspected_by,
        len(hypothesis.parts),
        -round(effect, 2),
        hypothesis.name,
    )
