"""The probes under their public name: ``from saldiag.probes import GradientNorms``."""

from __future__ import annotations

from saldiag_probes.activations import measure_activations
from saldiag_probes.calls import CannotMeasure
from saldiag_probes.data import measure_data
from saldiag_probes.dtypes import measure_dtypes
from saldiag_probes.flow import measure_gradient_flow
from saldiag_probes.gradients import GradientNorms
from saldiag_probes.items import measure_items
from saldiag_probes.loss_check import measure_loss_check
from saldiag_probes.plan import measure_plan
from saldiag_probes.survey import Survey, survey
from saldiag_probes.trainable import measure_trainable
from saldiag_probes.undisturbed import undisturbed
from saldiag_probes.watch import Watch, watch
from saldiag_probes.wiring import measure_wiring

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
    "survey",
    "undisturbed",
    "watch",
]
