"""Merge gradient histories: of one probe's chunks, or of a model's several optimizers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from saldiag.core.measurement import Array, GradientHistory, VariableInfo

VARIABLE_FIELDS = (
    "norm", "mean", "maximum", "zero_share", "nonfinite_share", "update_ratio", "weight_norm",
)  # fmt: skip
"""Fields of GradientHistory of shape (steps, variables)."""
STEP_FIELDS = ("loss", "loss_scale")
"""Fields of GradientHistory of shape (steps)."""


def merge_histories(histories: Sequence[GradientHistory]) -> GradientHistory:
    """All steps and all variables of ``histories``, nan where none of them has a value.

    Rows of the same step become one: each of a model's optimizers (a GAN) contributes its own
    variables. If two contribute the same variable or loss, the later value is kept.
    """
    infos: dict[str, VariableInfo] = {}
    for history in histories:
        for info in history.variables:
            infos.setdefault(info.path, info)
    column = {path: index for index, path in enumerate(infos)}
    steps = np.unique(np.concatenate([_no_steps(), *(h.steps for h in histories)]))
    shapes = {name: (len(steps), len(infos)) for name in VARIABLE_FIELDS}
    merged: dict[str, Array] = {name: np.full(shape, np.nan) for name, shape in shapes.items()}
    merged |= {name: np.full(len(steps), np.nan) for name in STEP_FIELDS}
    for history in histories:
        rows = np.searchsorted(steps, history.steps)
        columns = np.array([column[info.path] for info in history.variables], np.int64)
        for name in VARIABLE_FIELDS:
            merged[name][rows[:, np.newaxis], columns] = getattr(history, name)
        for name in STEP_FIELDS:
            _overwrite_known(merged[name], rows, getattr(history, name))
    dropped = sum(history.dropped_steps for history in histories)
    return GradientHistory(
        variables=tuple(infos.values()), steps=steps, dropped_steps=dropped, **merged
    )


def _no_steps() -> Array:
    return np.zeros(0, np.int64)


def _overwrite_known(target: Array, rows: Array, values: Array) -> None:
    known = ~np.isnan(values)
    target[rows[known]] = values[known]
