"""Run code before and after the ``apply`` of one optimizer instance."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from saldiag.core.keras_types import KerasModel, KerasOptimizer
from saldiag.core.patching import Patch


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
        hook = _wrap_apply(
            optimizer.apply,
            tf.autograph.experimental.do_not_convert(before),
            tf.autograph.experimental.do_not_convert(after),
        )
        self._patch = Patch(optimizer, "apply", hook, untracked=True)

    def remove(self) -> None:
        """Restore ``apply``. A hook that another patch wraps by now stays and passes calls on."""
        self._patch.withdraw()


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
