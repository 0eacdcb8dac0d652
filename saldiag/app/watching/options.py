"""Options of watching the models of a program."""

from __future__ import annotations

from dataclasses import dataclass

from saldiag.app.session.flags import flag
from saldiag.app.session.options import ExperimentOptions
from saldiag.core.training.schedule import PRESETS, Schedule

MAX_MODELS = 8
"""Largest number of models of one program to examine: a hyperparameter search builds hundreds."""


@dataclass(frozen=True, kw_only=True)
class WatchOptions:
    """How the models of a program are watched."""

    steps: int | None = flag(
        "End each training after N steps.", default=None, metavar="N", minimum=1
    )
    """Training steps after which each training ends; None for no limit."""
    overfit: bool = flag("First check whether the model can memorise a few batches.", default=False)
    """Whether an overfit test precedes the training."""
    budget: float = flag("Time limit of --overfit, in seconds.", default=60.0, minimum=1.0)
    """Seconds of training in the overfit test."""
    max_steps: int = flag("Maximum number of training steps of --overfit.", default=200, minimum=1)
    """Training steps in the overfit test."""
    experiments: ExperimentOptions | None = None
    """Experiments to run after the overfit test; None for none."""
    stop_early: bool = flag("End the program as soon as the verdict is certain.", default=False)
    """Whether the program ends once the verdict is certain."""
    probes: str | Schedule = flag(
        "How often to measure gradients.", default="economy", choices=tuple(PRESETS)
    )
    """Steps at which gradients are measured: a schedule or the name of one."""
