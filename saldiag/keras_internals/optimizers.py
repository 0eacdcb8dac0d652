"""What an optimizer holds."""

from __future__ import annotations

from typing import Any


def learning_rate_setting(optimizer: Any) -> Any:
    """The rate's variable, schedule or function; ``learning_rate`` is only the present value."""
    return optimizer._learning_rate


def learning_rate_setting_if_any(optimizer: Any) -> Any:
    """The same, None for what is no optimizer of Keras 3."""
    return getattr(optimizer, "_learning_rate", None)


def optimized_variables(optimizer: Any) -> Any:
    """The variables an optimizer was built for; the public ``variables`` are its own state."""
    return getattr(optimizer, "_trainable_variables", ())
