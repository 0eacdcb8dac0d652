"""The scale of the gradient over all replicas, relative to that of the global batch."""

from __future__ import annotations

import math
from collections.abc import Sequence

from saldiag.core.findings.rule import CannotJudge
from saldiag.core.measurement import Distribution, LossTerm

TOLERANCE = 0.01
"""Relative deviation up to which two numbers count as equal, unless a rule has its own."""


def is_close(value: float, expected: float, tolerance: float = TOLERANCE) -> bool:
    """Whether a number deviates from the expected one by at most the relative ``tolerance``."""
    return abs(value - expected) <= tolerance * abs(expected)


def judgeable_terms(measured: Distribution) -> Sequence[LossTerm]:
    """The terms of the loss whose weight is known.

    Raises:
        CannotJudge: there are none, the replicas read too few items, or the step changes the
            gradients in a way that is not understood.
    """
    known = [term for term in measured.terms if math.isfinite(term.weight)]
    if not known:
        raise CannotJudge(measured.terms_missing or "the scale of the loss is unknown")
    if measured.items.size and not measured.items.min() >= 2:
        raise CannotJudge("with one item per replica, a mean over the replica equals a sum")
    return known


def scale_of_step(measured: Distribution) -> float:
    """By what the step multiplies the sum of the replicas' gradients; 1 if it leaves them alone.

    A factor that is neither 1 nor the number of replicas or its inverse comes from clipping, and
    counts as 1.
    """
    count = float(measured.replicas)
    sums = count if measured.sums_in_step else 1.0
    for factor in (1 / count, count):
        if is_close(measured.gradient_factor, factor):
            return sums * factor
    return sums


def is_multiplied_by(term: LossTerm, factor: float, scale: float, tolerance: float) -> bool:
    """Whether the gradient of a term is ``factor`` times that of the mean over the global batch.

    A sum over several values per item is usually meant: its healthy weight is 1 or their number.

    Args:
        term: the term.
        factor: the factor.
        scale: by what the step multiplies the gradients, ``scale_of_step``.
        tolerance: largest relative deviation of the weight.
    """
    weight = term.weight * scale
    values = (1.0,) if term.averaged else (1.0, term.values_per_item)
    healthy = any(is_close(weight, value, tolerance) for value in values)
    scaled = any(is_close(weight, factor * value, tolerance) for value in values)
    return scaled and not healthy


def terms_scaled_by(measured: Distribution, factor: float, tolerance: float) -> Sequence[LossTerm]:
    """The terms that show that the gradient is scaled by ``factor``; empty if it is not certain.

    A mean that enters the loss of each replica unchanged is certain. Else all terms have to agree,
    and the program may not multiply by what could be a weight of the loss.

    Args:
        measured: the measurement.
        factor: the factor.
        tolerance: largest relative deviation of a term's weight.
    """
    terms, scale = judgeable_terms(measured), scale_of_step(measured)
    scaled = [term for term in terms if is_multiplied_by(term, factor, scale, tolerance)]
    unchanged = [term for term in scaled if term.averaged and is_close(term.factor, 1.0)]
    if unchanged:
        return unchanged
    agree = len(scaled) == len(terms) and not any(term.weighted for term in scaled)
    return scaled if agree else ()
