"""Whether the code that runs now computes for one of several replicas."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from saldiag.core.errors import ModelError


def replica_count() -> int:
    """How many replicas take a step together here; 0 outside of several replicas."""
    return 0 if current_replica() is None else tf.distribute.get_strategy().num_replicas_in_sync


def current_replica() -> int | None:
    """The number of the replica that this thread computes for; None outside of several replicas."""
    context = tf.distribute.get_replica_context()
    if context is None or context.num_replicas_in_sync < 2:
        return None
    number = tf.get_static_value(context.replica_id_in_sync_group)
    return None if number is None else int(number)


def check_strategy(strategy: Any) -> None:
    """Refuse a strategy whose steps run where the probe's variables cannot be used.

    Raises:
        ModelError: the strategy is one of a parameter server or of TPUs.
    """
    kinds = (
        tf.distribute.ParameterServerStrategy,
        tf.distribute.experimental.ParameterServerStrategy,
        tf.distribute.TPUStrategy,
    )
    if isinstance(strategy, kinds):
        raise ModelError(
            f"gradients are not measured under {_name(strategy)}, whose steps run on other "
            "machines than the program"
        )


def _name(strategy: Any) -> str:
    return type(strategy).__name__.removesuffix("V2")  # that is no public name
