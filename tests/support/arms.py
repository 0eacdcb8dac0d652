"""Arms and curves made of plain numbers, for the tests of what experiments prove."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from saldiag.core.measurement import Arm, Curve

ITEMS = 32


def curve(seed: int, score: float, *, items: int = ITEMS, start: float = 0.0) -> Curve:
    """A training that ends at that score, its items missing about as much each."""
    random = np.random.default_rng([seed, items])
    missed = (1 - score) * random.uniform(0.8, 1.2, items)
    missed *= (1 - score) / missed.mean() if score != 1 else 0
    return Curve(
        seed, (0, 20), (start, score), (0.5, 0.5 * (1 - score)), tuple(missed.tolist()), "steps"
    )


def arm(scores: Sequence[float], name: str = "change", steps: int = 20, **known: object) -> Arm:
    """One training a seed, each ending at its score."""
    curves = tuple(curve(seed, score) for seed, score in enumerate(scores))
    return Arm(name, "it is so", curves=curves, planned_steps=steps, **known)
