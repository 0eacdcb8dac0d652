"""The numbers of one training step, as tensors of the step's own graph."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from saldiag_probes.training import batched_statistics
from saldiag_probes.training.ring_buffer import run_if

COLUMNS = (*batched_statistics.GRADIENT_COLUMNS, "update_ratio", "weight_norm")
"""What is known of each variable after a step."""


@dataclass(frozen=True)
class VariableGroup:
    """Some of the variables, before the step: gradient statistics (k, 5), and the weights.

    ``weights`` is the matrix of their block; both are empty where the step is not measured.
    """

    variables: Sequence[Any]
    gradients: Any
    weights: Any


def before_step(
    measured: Any, gradients: Sequence[Any], variables: Sequence[Any]
) -> list[VariableGroup]:
    """Take the gradients' statistics and keep the weights, if ``measured`` (bool tensor or True).

    ``variables`` are ``tf.Variable``; a gradient may be None or IndexedSlices.
    """
    groups = batched_statistics.group_by_size(
        [variable.shape.num_elements() for variable in variables]
    )
    return [
        _measure_group(
            measured, [gradients[i] for i in positions], [variables[i] for i in positions]
        )
        for positions in groups
    ]


def after_step(parts: Sequence[VariableGroup]) -> Any:
    """``COLUMNS`` of all variables, in the order given to ``before_step``: (K, 7) float64.

    To be called where the step is known to be measured, after the optimizer's updates.
    """
    return tf.concat([_group_rows(part) for part in parts], 0)


def _measure_group(
    measured: Any, gradients: Sequence[Any], variables: Sequence[Any]
) -> VariableGroup:
    def take() -> tuple[Any, Any]:
        weights = batched_statistics.pack_tensors([variable.read_value() for variable in variables])
        return _gradient_statistics(gradients), weights.matrix

    def leave() -> tuple[Any, Any]:
        nothing = tf.zeros([len(variables), len(batched_statistics.GRADIENT_COLUMNS)], tf.float64)
        return nothing, tf.zeros(
            [0, batched_statistics.ROW_LENGTH], batched_statistics.block_dtype(variables)
        )

    return VariableGroup(variables, *run_if(measured, take, leave))


def _gradient_statistics(gradients: Sequence[Any]) -> Any:
    """Statistics of each gradient: (K, 5); nan where there is none."""
    present = [gradient for gradient in gradients if gradient is not None]
    absent = tf.constant(np.nan, tf.float64, [1, len(batched_statistics.GRADIENT_COLUMNS)])
    if not present:
        return tf.repeat(absent, len(gradients), 0)
    rows = batched_statistics.gradient_statistics(batched_statistics.pack_tensors(present))
    if len(present) == len(gradients):
        return rows
    return tf.gather(tf.concat([rows, absent], 0), batched_statistics.order_with_gaps(gradients))


def _group_rows(part: VariableGroup) -> Any:
    now = batched_statistics.pack_tensors([variable.read_value() for variable in part.variables])
    return tf.concat([part.gradients, batched_statistics.change_statistics(part.weights, now)], 1)
