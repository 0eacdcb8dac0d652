"""State of an optimizer."""

from __future__ import annotations

from typing import Any


def learning_rate_setting(optimizer: Any) -> Any:
    """The rate's variable, schedule or function; ``learning_rate`` is only its current value."""
    return optimizer._learning_rate


def learning_rate_setting_if_any(optimizer: Any) -> Any:
    """The same; None if the object is not a Keras 3 optimizer."""
    return getattr(optimizer, "_learning_rate", None)


def optimized_variables(optimizer: Any) -> Any:
    """The variables an optimizer was built for; the public ``variables`` are its own state."""
    return getattr(optimizer, "_trainable_variables", ())


REDUCE_GRADIENTS = "_all_reduce_sum_gradients"
"""The method that sums gradients over the replicas of a strategy; there is no public hook."""


def reduce_gradients(optimizer: Any) -> Any:
    """That method of an optimizer, bound."""
    return optimizer._all_reduce_sum_gradients
