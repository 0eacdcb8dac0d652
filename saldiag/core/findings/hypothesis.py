"""A hypothesis, and what experiments made of it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

HypothesisOutcome = Literal["confirmed", "refuted", "no difference", "not applicable", "undecided"]

RESTORED = 0.5
"""Score from which on a model learns: half of what there is to learn."""

CHANGES_NOTHING = "it changes nothing"
"""The reason of an outcome where control and intervention are the same within the margin."""


@dataclass(frozen=True)
class Hypothesis:
    """A hypothesis, what was changed, and what came of it; in ``diagnosis.json`` as it is here.

    ``effect`` is the mean difference in score over the seeds, ``interval`` its bootstrap interval;
    ``score`` and ``error`` are the means of control and intervention.
    """

    name: str
    hypothesis: str
    intervention: str
    outcome: HypothesisOutcome
    reason: str
    layers: tuple[str, ...] = ()
    answers: tuple[str, ...] = ()
    suspected_by: tuple[str, ...] = ()
    parts: tuple[str, ...] = ()
    mode: str = "training"
    seeds: int = 0
    restored: int = 0
    steps: int = 0
    score: tuple[float, float] = (math.nan, math.nan)
    error: tuple[float, float] = (math.nan, math.nan)
    effect: float = math.nan
    interval: tuple[float, float] = (math.nan, math.nan)

    @property
    def changes_nothing(self) -> bool:
        """Whether control and intervention came out the same."""
        return self.reason == CHANGES_NOTHING

    @property
    def tried(self) -> bool:
        """Whether there are trainings that can be compared with the control."""
        return self.seeds > 0
