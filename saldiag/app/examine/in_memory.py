"""Examines one compiled model on given batches in memory: no run directory, no output."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from saldiag.app.examine.examination import Examination
from saldiag.app.loading.subject import Batches, Subject
from saldiag.app.session.collector import Collector
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
    """Trace one batch, examine data and loss, run the overfit test, compare trainable flags.

    Args:
        subject: a compiled Keras model of any kind. It is trained, and stays so.
        batches: the batches to memorise, each (x, y) or (x, y, sample_weight).
        plan: arguments of the program's ``fit``, as far as they are known.
        budget_seconds: time limit of the overfit test in seconds, from the end of its first step.
        max_steps: largest number of training steps; 0 for no overfit test.

    Raises:
        SaldiagError: the model cannot be called on the first batch.
    """
    collector = Collector()
    examination = Examination(collector, subject, Batches(tuple(batches)), plan)
    examination.survey()
    examination.examine_data()
    if max_steps:
        collector.try_measuring(
            OverfitHistory,
            # Only TensorBoard shows histograms, and no run is written here.
            lambda: examination.run_overfit_test(
                histograms=False, budget_seconds=budget_seconds, max_steps=max_steps
            ),
        )
    examination.measure_training_plan()
    examination.measure_trainability(collector.measured.get(GradientHistory))
    return collector.measured
