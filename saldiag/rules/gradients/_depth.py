"""The trend of gradient norms over depth."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from saldiag.core.findings.rule import CannotJudge
from saldiag.core.measurement import (
    Array,
    GradientFlow,
    GradientHistory,
    Measurements,
    OverfitHistory,
    Wiring,
)
from saldiag.rules.shared.trend_statistics import kendall_tau, theil_sen
from saldiag.rules.verdicts.overfit import verdict_of


@dataclass(frozen=True)
class DepthTrend:
    """A line fitted to log10 of the gradient norms over depth, from the input to the output."""

    layers: tuple[str, ...]
    """Paths of the layers, from the input to the output."""
    decades: float
    """Rise of the line from the first layer to the last, in powers of ten; positive if the gradient
    vanishes toward the input."""
    tau: float
    """Kendall's rank correlation of norm and depth, in [-1, 1]."""
    first: float
    """Measured gradient norm of the first layer."""
    last: float
    """Measured gradient norm of the last layer."""

    def evidence(self) -> dict[str, Any]:
        """The numbers of a finding."""
        return {
            "decades": self.decades,
            "tau": self.tau,
            "layers": len(self.layers),
            "first_norm": self.first,
            "last_norm": self.last,
        }


def depth_trend(measured: Measurements, min_layers: float) -> DepthTrend:
    """Fit the trend over the layers with a kernel.

    Raises:
        CannotJudge: no gradient was measured, or too few layers have one.
    """
    layers, norms = _norms_by_depth(measured)
    usable = np.isfinite(norms) & (norms > 0)  # zeros are a cut, not a trend
    layers = [layer for layer, use in zip(layers, usable, strict=True) if use]
    if len(layers) < min_layers:
        raise CannotJudge(
            f"a trend over depth needs {min_layers:.0f} layers with a kernel and a gradient, "
            f"the model has {len(layers)}"
        )
    logs = np.log10(norms[usable])
    return DepthTrend(
        layers=tuple(layers),
        decades=theil_sen(np.arange(len(logs), dtype=np.float64), logs) * (len(logs) - 1),
        tau=kendall_tau(logs),
        first=float(10 ** logs[0]),
        last=float(10 ** logs[-1]),
    )


def learns_in_overfit_test(measured: Measurements) -> bool:
    """Whether the model learns in the overfit test, which shows a steep trend to be harmless."""
    return verdict_of(measured.get(OverfitHistory))[0] == "learns"


def _norms_by_depth(measured: Measurements) -> tuple[list[str], Array]:
    """Layers with a trainable kernel in execution order, and the gradient norm of each.

    The norm is that at the layer's output. The norm of the kernel's gradient is that norm times the
    layer's input: if values grow with depth as fast as gradients grow toward the input, it is the
    same in every layer. It is used only where the gradient flow was not measured, as the median
    over the recorded steps.

    Raises:
        CannotJudge: no gradient was measured.
    """
    flow, history = measured.get(GradientFlow), measured.get(GradientHistory)
    if flow is not None:
        kernels = {variable.layer for variable in flow.variables if is_kernel(variable.path)}
        rows = [row for row in flow.rows if row.leaf and row.layer in kernels and not row.skipped]
        return [row.layer for row in rows], np.array([row.output_gradient or 0.0 for row in rows])
    if history is None or not len(history.steps):
        raise CannotJudge(measured.reason(GradientFlow))
    wiring = measured.get(Wiring)
    order = wiring.order() if wiring is not None else {}
    medians = [
        (variable.layer, float(np.median(np.nan_to_num(column, nan=0.0))))
        for variable, column in zip(history.variables, history.norm.T, strict=True)
        if is_kernel(variable.path)
    ]
    medians.sort(key=lambda pair: order.get(pair[0], len(order)))
    return [layer for layer, _ in medians], np.array([norm for _, norm in medians])


def is_kernel(path: str) -> bool:
    """Whether a variable is a weight matrix; the gradients of biases and scales vary less."""
    return path.endswith(("kernel", "embeddings"))
