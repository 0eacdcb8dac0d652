"""Stand before and after the ``apply`` of one optimizer instance."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf


class ApplyHook:
    """Replaces ``optimizer.apply`` on this instance; ``remove`` puts things back.

    Keras' ``apply_gradients`` and ``fit`` both go through ``apply``.

    Args:
        optimizer: any Keras optimizer, wrappers like LossScaleOptimizer included.
        before: called with the arguments of ``apply``; what it returns goes to ``after``.
        after: called when the optimizer has taken its step.
    """

    def __init__(
        self,
        optimizer: Any,
        before: Callable[..., Any],
        after: Callable[[Any], None],
    ) -> None:
        self._optimizer = optimizer
        self._previous = vars(optimizer).get("apply")
        self._hook = _wrap_apply(
            optimizer.apply,
            tf.autograph.experimental.do_not_convert(before),
            tf.autograph.experimental.do_not_convert(after),
        )
        # Not through Keras' __setattr__, which tracks what an optimizer is made of.
        object.__setattr__(optimizer, "apply", self._hook)

    def remove(self) -> None:
        """Unhook, unless somebody hooked over this hook since: then it stays as a passage."""
        if vars(self._optimizer).get("apply") is not self._hook:
            return
        if self._previous is None:
            object.__delattr__(self._optimizer, "apply")
        else:
            object.__setattr__(self._optimizer, "apply", self._previous)


def _wrap_apply(
    original: Callable[..., Any], before: Callable[..., Any], after: Callable[[Any], None]
) -> Callable[..., Any]:
    # AutoGraph may convert this function (a custom loop under tf.function): it must stay plain,
    # so that the original is converted, or not, exactly as it would be without the hook.
    def apply(grads: Any, *args: Any, **kwargs: Any) -> Any:
        ticket = before(grads, *args, **kwargs)
        result = original(grads, *args, **kwargs)
        after(ticket)
        return result

    return apply


def retrace_train_step(model: Any) -> None:
    """Make the model trace its training step anew, without taking it away from a running fit."""
    if getattr(model, "train_function", None) is not None:
        model.train_function = None
        model.make_train_function()
