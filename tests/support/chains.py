"""A healthy chain of dense layers of any length, in plain numbers."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from saldiag.core.measurement import GradientHistory, Measurements, VariableInfo
from tests.support.measurements import (
    activation_row,
    activations,
    call,
    data,
    dtype_row,
    dtypes,
    flow,
    flow_row,
    gradients,
    healthy,
    loss_check,
    overfit,
    trainable,
    trainable_row,
    wiring,
)

SHAPE = (None, 16)


def healthy_chain(layers: int, steps: int) -> Measurements:
    """``layers`` dense layers with ReLU and a sigmoid, of which ``steps`` steps are recorded."""
    paths = [f"dense_{index}" for index in range(layers)]
    acts = dict.fromkeys(paths, "relu") | {paths[-1]: "sigmoid"}
    calls = [
        call(path, "Dense", before, activation=acts[path], parameters=272,
             input_shapes=(SHAPE,), output_shapes=(SHAPE,))
        for before, path in pairwise(["", *paths])
    ]  # fmt: skip
    kernels = [f"{path}/{role}" for path in paths for role in ("kernel", "bias")]
    return healthy(
        wiring(*calls),
        _history(kernels, steps),
        flow(dict.fromkeys(kernels, 0.1),
             rows=tuple(flow_row(path, "Dense", 0.4, 0.3) for path in paths)),
        dtypes(rows=tuple(dtype_row(path, "Dense", "float32", 272) for path in paths)),
        trainable(*(trainable_row(kernel, 256, kind="Dense") for kernel in kernels),
                  normalization=()),
        activations(*(activation_row(path, kind="Dense", activation=acts[path]) for path in paths)),
        data(),
        loss_check(),
        overfit(),
    )  # fmt: skip


def _history(kernels: list[str], steps: int) -> GradientHistory:
    """Gradients that fall by e over the run, in every variable."""
    rows = (steps, len(kernels))
    norm = np.broadcast_to(0.1 * np.exp(-np.linspace(0, 1, steps))[:, None], rows)
    infos = tuple(
        VariableInfo(
            k, k.rpartition("/")[0], (16, 16) if k.endswith("kernel") else (16,), "float32"
        )
        for k in kernels
    )
    return gradients(
        variables=infos, steps=np.arange(steps), norm=norm, mean=norm / 20, maximum=norm / 4,
        zero_share=np.zeros(rows), nonfinite_share=np.zeros(rows),
        update_ratio=np.full(rows, 0.003), weight_norm=np.ones(rows),
        loss_scale=np.ones(steps), loss=0.5 * np.exp(-np.linspace(0, 6, steps)),
    )  # fmt: skip
