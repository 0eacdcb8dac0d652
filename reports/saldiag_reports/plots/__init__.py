"""Plots as inline SVG, drawn with seaborn.

Each function takes a measurement and returns escaped markup, the same for the same numbers.
"""

from saldiag_reports.plots.curves import plot_curves
from saldiag_reports.plots.flow import plot_flow
from saldiag_reports.plots.gradients import plot_gradients
from saldiag_reports.plots.loss import plot_overfit, plot_training
from saldiag_reports.plots.proof import plot_experiments
from saldiag_reports.plots.validation_curves import plot_validation

__all__ = [
    "plot_curves",
    "plot_experiments",
    "plot_flow",
    "plot_gradients",
    "plot_overfit",
    "plot_training",
    "plot_validation",
]
