"""The examination of one compiled model on given batches, in memory: no run, no screen."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from saldiag.app.examine.examination import Examination
from saldiag.app.session.collector import Collector
from saldiag.app.subject.subject import Batches, Subject
from saldiag.core.measurement import GradientHistory, Measurements, OverfitHistory
from saldiag.core.training.fit_plan import FitPlan


def examine_model(
    subject: Subject,
    batches: Sequence[tuple[Any, ...]],
    *,
    plan: FitPlan | None = None,
    budget_seconds: float = 60.0,
    max_steps: int = 200,
) -> Measurements:
    """Follow one batch, look at data and loss, memorise the batches, compare flags with facts.

    Args:
        subject: a compiled Keras model of any kind, with what is known of it. It is trained.
        batches: what it memorises: (x, y) or (x, y, sample_weight) each.
        plan: what the program hands to ``fit``, as far as it is known.
        budget_seconds: for the overfit test, from the end of its first step.
        max_steps: training steps at the most; 0 takes none.

    Raises:
        SaldiagError: the model cannot be called on the first batch.
    """
    collector = Collector()
    examination = Examination(collector, subject, Batches(tuple(batches)), plan)
    examination.survey()
    examination.look_at_data()
    if max_steps:
        collector.attempt(
            OverfitHistory,
            # No rule reads histograms, and nobody is shown them here.
            lambda: examination.memorise(
                histograms=False, budget_seconds=budget_seconds, max_steps=max_steps
            ),
        )
    examination.look_ahead()
    examination.trainable(collector.measured.get(GradientHistory))
    return collector.measured
