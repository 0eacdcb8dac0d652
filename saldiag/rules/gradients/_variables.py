"""Gradients by variable, from whichever probe measured them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from saldiag.core.measurement import (
    Array,
    GradientFlow,
    GradientHistory,
    Measurements,
    Wiring,
)
from saldiag.core.rule import CannotJudge


@dataclass(frozen=True)
class Norm:
    """L2 norm of one variable's gradient (``None``: there is none); the median over the steps."""

    path: str
    layer: str
    norm: float | None

    @property
    def is_kernel(self) -> bool:
        """Whether it is a matrix of weights; biases and BatchNorm's vectors say less of depth."""
        return self.path.rsplit("/", 1)[-1].endswith(("kernel", "embeddings"))


def norms(measured: Measurements) -> list[Norm]:
    """Of the history where there is one, else of the gradient flow; in execution order.

    Raises:
        CannotJudge: neither was measured.
    """
    history, flow = measured.get(GradientHistory), measured.get(GradientFlow)
    if history is not None and len(history.steps):
        middle = medians(history.norm)
        found = [
            Norm(variable.path, variable.layer, None if np.isnan(value) else float(value))
            for variable, value in zip(history.variables, middle, strict=True)
        ]
    elif flow is not None:
        found = [Norm(row.path, row.layer, row.norm) for row in flow.variables]
    else:
        raise CannotJudge(measured.reason(GradientFlow))
    wiring = measured.get(Wiring)
    order = wiring.order() if wiring is not None else {}
    return sorted(found, key=lambda norm: order.get(norm.layer, len(order)))


def medians(values: Array) -> Array:
    """Median of each column over its finite values; ``nan`` where there is none."""
    columns = [column[np.isfinite(column)] for column in values.T]
    return np.array([np.median(column) if len(column) else np.nan for column in columns])


def kernel_profile(measured: Measurements) -> tuple[list[str], Array]:
    """Layers with a kernel from the input on, and log10 of its gradient's norm; without zeros.

    Raises:
        CannotJudge: no gradient was measured.
    """
    kernels = [
        norm
        for norm in norms(measured)
        if norm.is_kernel and norm.norm is not None and 0 < norm.norm < float("inf")
    ]
    values = np.array([norm.norm for norm in kernels], dtype=np.float64)
    return [norm.layer for norm in kernels], np.log10(values)
