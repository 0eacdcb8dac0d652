"""The statistics of one training step, as tensors of the step's own graph."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import tensorflow as tf

from saldiag.core.keras_types import Gradient, Tensor, TFVariable
from saldiag_probes.training import batched_statistics
from saldiag_probes.training.ring_buffer import run_if

COLUMNS = (*batched_statistics.GRADIENT_COLUMNS, "update_ratio", "weight_norm")
"""Names of the statistics of each variable after a step."""


FEW_ELEMENTS = 1 << 14
FEW_VARIABLES = 16
"""Up to so many elements and variables, copying the weights at every step costs less than the
branch that copies them at measured steps only (10 microseconds)."""


@dataclass(frozen=True)
class VariableGroup:
    """Some of the variables, with what was measured before the step."""

    variables: Sequence[TFVariable]
    """The k variables, ``tf.Variable``."""
    measured_before: Callable[[], tuple[Tensor, Tensor]]
    """Returns the gradients' statistics, (k, 5) float64, and the matrix of the weights before
    the step. Called in a branch that only measured steps run."""


def before_step(
    measured: Tensor | bool, gradients: Sequence[Gradient], variables: Sequence[TFVariable]
) -> list[VariableGroup]:
    """Compute the gradients' statistics and keep the weights, if the step is measured.

    Args:
        measured: a bool tensor, or True.
        gradients: one per variable: a tensor, IndexedSlices or None.
        variables: the ``tf.Variable`` objects.
    """
    sizes = [variable.shape.num_elements() for variable in variables]
    measure = _defer_measurement if are_few(variables) else partial(_measure_now, measured)
    return [
        VariableGroup(
            [variables[i] for i in positions],
            measure([gradients[i] for i in positions], [variables[i] for i in positions]),
        )
        for positions in batched_statistics.group_by_size(sizes)
    ]


def are_few(variables: Sequence[TFVariable]) -> bool:
    """Whether a branch costs more than what it saves for these variables."""
    elements = sum(variable.shape.num_elements() for variable in variables)
    return len(variables) <= FEW_VARIABLES and elements <= FEW_ELEMENTS


def after_step(groups: Sequence[VariableGroup]) -> Tensor:
    """``COLUMNS`` of all variables in the order passed to ``before_step``: (K, 7) float64.

    To be called after the optimizer's updates, in a branch that only measured steps run.
    """
    return tf.concat([_group_rows(group) for group in groups], 0)


def gradient_columns(gradients: Sequence[Gradient]) -> Tensor:
    """``GRADIENT_COLUMNS`` of each gradient: (K, 5) float64; nan for None."""
    sizes = [0 if g is None else g.shape.num_elements() or 0 for g in gradients]
    groups = batched_statistics.group_by_size(sizes)
    return tf.concat([_gradient_statistics([gradients[i] for i in group]) for group in groups], 0)


def _measure_now(
    measured: Tensor | bool, gradients: Sequence[Gradient], variables: Sequence[TFVariable]
) -> Callable[[], tuple[Tensor, Tensor]]:
    def measure() -> tuple[Any, Any]:
        weights = batched_statistics.pack_tensors([variable.read_value() for variable in variables])
        return _gradient_statistics(gradients), weights.matrix

    def skip() -> tuple[Any, Any]:
        no_statistics = tf.zeros(
            [len(variables), len(batched_statistics.GRADIENT_COLUMNS)], tf.float64
        )
        return no_statistics, tf.zeros(
            [0, batched_statistics.ROW_LENGTH], batched_statistics.block_dtype(variables)
        )

    found = run_if(measured, measure, skip)
    return lambda: found


def _defer_measurement(
    gradients: Sequence[Gradient], variables: Sequence[TFVariable]
) -> Callable[[], tuple[Tensor, Tensor]]:
    weights = [variable.read_value() for variable in variables]
    return lambda: (
        _gradient_statistics(gradients),
        batched_statistics.pack_tensors(weights).matrix,
    )


def _gradient_statistics(gradients: Sequence[Gradient]) -> Tensor:
    """Statistics of each gradient: (K, 5); nan for None."""
    present = [gradient for gradient in gradients if gradient is not None]
    absent = tf.constant(np.nan, tf.float64, [1, len(batched_statistics.GRADIENT_COLUMNS)])
    if not present:
        return tf.repeat(absent, len(gradients), 0)
    rows = batched_statistics.gradient_statistics(batched_statistics.pack_tensors(present))
    if len(present) == len(gradients):
        return rows
    return tf.gather(tf.concat([rows, absent], 0), batched_statistics.order_with_gaps(gradients))


def _group_rows(group: VariableGroup) -> Tensor:
    gradients, weights = group.measured_before()
    current = batched_statistics.pack_tensors(
        [variable.read_value() for variable in group.variables]
    )
    return tf.concat([gradients, batched_statistics.change_statistics(weights, current)], 1)
