"""Run code before and after each step of one optimizer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from saldiag.core.keras_types import KerasModel, KerasOptimizer
from saldiag_probes.hooks.engine import HOOKS, HookedCall, HookPoint


class ApplyHook:
    """Calls ``before`` and ``after`` around the optimizer's ``apply`` until ``remove``.

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
        # In a custom loop under tf.function AutoGraph converts what it meets, which is to be the
        # program's code alone.
        self._before = tf.autograph.experimental.do_not_convert(before)
        self._after = tf.autograph.experimental.do_not_convert(after)
        self._subscription = HOOKS.subscribe({HookPoint.APPLY: self._on_apply}, optimizer)

    def remove(self) -> None:
        """Call neither of them from now on."""
        self._subscription.cancel()

    def _on_apply(self, call: HookedCall) -> Any:
        state = self._before(*call.args, **call.kwargs)
        result = call.proceed()
        self._after(state)
        return result


def retrace_train_step(model: KerasModel) -> None:
    """Make the model trace its training step again, without breaking a ``fit`` that is running."""
    if getattr(model, "train_function", None) is not None:
        model.train_function = None
        model.make_train_function()
