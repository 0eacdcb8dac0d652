"""What ``compile`` stores: losses, their weights and metrics; and what callbacks monitor."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from saldiag.keras_internals.names import COMPILED_LOSS, COMPILED_METRICS, LOSS_MODULES


def compiled_loss(model: Any) -> Any:
    """The loss that Keras made of ``compile(loss=…)``, or None; ``loss`` is only the argument."""
    return getattr(model, COMPILED_LOSS, None)


def compiled_metrics(model: Any) -> Any:
    """The metrics that Keras made of ``compile(metrics=…)``, or None; ``metrics`` has parts."""
    return getattr(model, COMPILED_METRICS, None)


def loss_argument(compiled: Any) -> Any:
    """``loss=`` of a compiled loss, as given; a loss compiled elsewhere has no public copy."""
    return compiled._user_loss


def loss_weights_argument(compiled: Any) -> Any:
    """``loss_weights=`` of a compiled loss, or None; a model has no public attribute for it."""
    return getattr(compiled, "_user_loss_weights", None)


def metrics_argument(compiled: Any) -> Any:
    """``metrics=`` of compiled metrics, as given, or None; a model has no attribute for it."""
    return getattr(compiled, "_user_metrics", None)


def sorted_losses(model: Any) -> Any:
    """Each loss with its path in the outputs, weight and name; empty before the first batch.

    They are Keras' own tuples of ``path``, ``loss``, ``loss_weights`` and ``name``. No public
    attribute says which output a loss belongs to.
    """
    return getattr(compiled_loss(model), "_flat_losses", None) or ()


def loss_method(model: Any) -> Callable[..., Any]:
    """The method by which ``fit`` computes the loss.

    The public ``compute_loss`` may be an older override without ``training``; this one adapts.
    """
    method: Callable[..., Any] = model._compute_loss
    return method


def is_keras_loss(owner: Any) -> bool:
    """Whether a loss class or function is defined by Keras; there is no public flag."""
    return str(getattr(owner, "__module__", "")).startswith(LOSS_MODULES)


def has_monitor_direction(callback: Any) -> bool:
    """Whether Keras decides for a callback if a higher value is better."""
    return hasattr(callback, "_set_monitor_op")


def set_monitor_direction(callback: Any) -> None:
    """Set ``monitor_op`` now; Keras sets it only when training starts."""
    callback._set_monitor_op()


def metric_direction(metric: Any) -> str:
    """``up`` if higher is better, else ``down``; empty if Keras does not declare it. Not public."""
    return str(getattr(metric, "_direction", ""))
