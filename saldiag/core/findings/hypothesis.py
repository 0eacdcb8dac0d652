"""A hypothesis, and the outcome of the experiments on it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from saldiag.core.field_types import Count, RuleCode
from saldiag.core.measurement.experiments import Mode

HypothesisOutcome = Literal["confirmed", "refuted", "no difference", "not applicable", "undecided"]

RESTORED = 0.5
"""Smallest score (R²) of a model that learns: half of the targets' variation."""

CHANGES_NOTHING = "it changes nothing"
"""Reason of an outcome if control and intervention are the same within the margin."""


@dataclass(frozen=True)
class Hypothesis:
    """A hypothesis, the change that tests it, and the outcome.

    The score is the share of the targets' variation that the predictions reproduce (R²). Numbers
    are NaN or 0 if nothing was trained.
    """

    name: str
    """Name of the intervention; several are joined by `` + ``."""
    hypothesis: str
    """A sentence that the experiment can refute."""
    intervention: str
    """What was changed; empty if nothing was."""
    outcome: HypothesisOutcome
    """``refuted`` for a suspected change without effect, ``no difference`` for one that nothing
    suggested."""
    reason: str
    """Why that outcome, in one line."""
    layers: tuple[str, ...] = ()
    """Paths of the layers that were changed."""
    answers: tuple[RuleCode, ...] = ()
    """Codes of the rules whose finding it would prove."""
    suspected_by: tuple[str, ...] = ()
    """Codes of the rules, and the user's own words, that suggested it."""
    parts: tuple[str, ...] = ()
    """Names of the single changes of a combination; empty for a single change."""
    mode: Mode = "training"
    """Mode that effect, interval and score are measured in."""
    seeds: Count = 0
    """Number of trainings that were compared with the control."""
    restored: Count = 0
    """How many of them learn."""
    steps: Count = 0
    """Steps of the longest of them."""
    score: tuple[float, float] = (math.nan, math.nan)
    """Score of control and intervention, means over the seeds."""
    error: tuple[float, float] = (math.nan, math.nan)
    """Mean absolute error of both in training mode, in the targets' unit, means over the seeds."""
    effect: float = math.nan
    """Mean difference in score over the seeds, with negative scores counted as 0."""
    interval: tuple[float, float] = (math.nan, math.nan)
    """Bootstrap interval of the effect at 95 %."""

    @property
    def changes_nothing(self) -> bool:
        """Whether control and intervention have the same result."""
        return self.reason == CHANGES_NOTHING

    @property
    def tried(self) -> bool:
        """Whether there are trainings that can be compared with the control."""
        return self.seeds > 0
