"""How gradients change with depth."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from saldiag.core.measurement import Measurements
from saldiag.core.rule import CannotJudge
from saldiag.rules.gradients._variables import kernel_profile
from saldiag.rules.trend import kendall_tau, theil_sen


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
    """Fit the trend over the kernels.

    Raises:
        CannotJudge: no gradient was measured, or too few layers have one.
    """
    layers, logs = kernel_profile(measured)
    if len(layers) < min_layers:
        raise CannotJudge(
            f"a trend in depth needs {min_layers:.0f} layers with a kernel and a gradient, "
            f"there are {len(layers)}"
        )
    slope = theil_sen(np.arange(len(logs), dtype=np.float64), logs)
    return DepthTrend(
        layers=tuple(layers),
        decades=slope * (len(logs) - 1),
        tau=kendall_tau(logs),
        first=float(10 ** logs[0]),
        last=float(10 ** logs[-1]),
    )
