"""How gradients change with depth."""

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
    """A line through log10 of the gradient norms over depth, from the input to the output.

    ``decades`` is its rise from the first layer to the last (positive: vanishing toward the
    input), ``tau`` the rank correlation; ``first`` and ``last`` are norms as measured.
    """

    layers: tuple[str, ...]
    decades: float
    tau: float
    first: float
    last: float

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
    layers, norms = _profile(measured)
    usable = np.isfinite(norms) & (norms > 0)  # zeros are a cut, not a trend
    layers = [layer for layer, use in zip(layers, usable, strict=True) if use]
    if len(layers) < min_layers:
        raise CannotJudge(
            f"a trend in depth needs {min_layers:.0f} layers with a kernel and a gradient, "
            f"there are {len(layers)}"
        )
    logs = np.log10(norms[usable])
    return DepthTrend(
        layers=tuple(layers),
        decades=theil_sen(np.arange(len(logs), dtype=np.float64), logs) * (len(logs) - 1),
        tau=kendall_tau(logs),
        first=float(10 ** logs[0]),
        last=float(10 ** logs[-1]),
    )


def learns_all_the_same(measured: Measurements) -> bool:
    """Whether the overfit test shows that a steep profile does no harm here."""
    return verdict_of(measured.get(OverfitHistory))[0] == "learns"


def _profile(measured: Measurements) -> tuple[list[str], Array]:
    """Layers with a trainable kernel in execution order, and the norm of their gradient.

    The gradient at the layer's output is the better measure: a kernel's is that times the layer's
    input, and where values explode on the way in as gradients do on the way back, the product is
    the same in every layer. Without the flow the kernels have to do, by their median over steps.
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
    found = [
        (variable.layer, float(np.median(np.nan_to_num(column, nan=0.0))))
        for variable, column in zip(history.variables, history.norm.T, strict=True)
        if is_kernel(variable.path)
    ]
    found.sort(key=lambda pair: order.get(pair[0], len(order)))
    return [layer for layer, _ in found], np.array([norm for _, norm in found])


def is_kernel(path: str) -> bool:
    """Whether a variable is a matrix of weights; biases and scales say less of depth."""
    return path.endswith(("kernel", "embeddings"))
