"""Run code before and after the ``apply`` of one optimizer instance."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from saldiag.core.keras_types import KerasModel, KerasOptimizer


class ApplyHook:
    """Replaces ``optimizer.apply`` on this instance until ``remove``.

    Keras' ``apply_gradients`` and ``fit`` both call ``apply``.

    Args:
        optimizer: any Keras optimizer, wrappers like LossScaleOptimizer included.
        before: called with the arguments of ``apply``; its result is passed to ``after``.
        after: called when the optimizer has taken its step.
    """

    def __init__(
        self,
        optimizer: KerasOptimizer,
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
        # object.__setattr__ bypasses Keras' attribute tracking.
        object.__setattr__(optimizer, "apply", self._hook)

    def remove(self) -> None:
        """Restore ``apply``. A hook that another patch wraps by now stays and passes calls on."""
        if vars(self._optimizer).get("apply") is not self._hook:
            return
        if self._previous is None:
            object.__delattr__(self._optimizer, "apply")
        else:
            object.__setattr__(self._optimizer, "apply", self._previous)


def _wrap_apply(
    original: Callable[..., Any], before: Callable[..., Any], after: Callable[[Any], None]
) -> Callable[..., Any]:
    # A custom loop under tf.function makes AutoGraph convert this function. It must stay a plain
    # function without do_not_convert: the original is then converted, or not, exactly as it would
    # be without the hook.
    def apply(grads: Any, *args: Any, **kwargs: Any) -> Any:
        state = before(grads, *args, **kwargs)
        result = original(grads, *args, **kwargs)
        after(state)
        return result

    return apply


def retrace_train_step(model: KerasModel) -> None:
    """Make the model trace its training step again, without breaking a ``fit`` that is running."""
    if getattr(model, "train_function", None) is not None:
        model.train_function = None
        model.make_train_function()
