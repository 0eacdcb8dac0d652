"""The probes under their public name: ``from saldiag.probes import GradientNorms``."""

from __future__ import annotations

from saldiag_probes.data.samples import measure_items
from saldiag_probes.data.tensor_statistics import measure_data
from saldiag_probes.loss.recomputed_loss import measure_loss_check
from saldiag_probes.network.trainability import measure_trainable
from saldiag_probes.state.isolation import preserved_state
from saldiag_probes.survey import (
    Survey,
    measure_activations,
    measure_dtypes,
    measure_gradient_flow,
    measure_wiring,
    survey,
)
from saldiag_probes.trace.errors import CannotMeasure
from saldiag_probes.training.callback import Watch, watch
from saldiag_probes.training.fit_plan import measure_plan
from saldiag_probes.training.gradient_norms import GradientNorms

__all__ = [
    "CannotMeasure",
    "GradientNorms",
    "Survey",
    "Watch",
    "measure_activations",
    "measure_data",
    "measure_dtypes",
    "measure_gradient_flow",
    "measure_items",
    "measure_loss_check",
    "measure_plan",
    "measure_trainable",
    "measure_wiring",
    "preserved_state",
    "survey",
    "watch",
]
