"""The loss of each step, taken from the graph that computes it anyway."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import tensorflow as tf

from saldiag.core.keras_types import KerasModel, Tensor, TFVariable
from saldiag_probes.hooks.engine import HOOKS, HookedCall, HookPoint, Subscription
from saldiag_probes.hooks.gradient_tape import TAPE_TARGETS, in_current_graph
from saldiag_probes.hooks.replica_context import current_replica
from saldiag_probes.hooks.tape_call import variable_id


class StepLossHook:
    """Records the results of one model's ``compute_loss``, and the targets of gradient tapes.

    ``fit`` calls ``compute_loss``, and so may a custom ``train_step``. The recorded value is what
    ``compute_loss`` returned: with regularisation, before loss scaling. If nothing calls it, the
    loss is the target of the tape that computed the gradients.

    Args:
        model: the model.
        tapes: whether to use tapes; False with several optimizers, because each has its own loss.
    """

    def __init__(self, model: KerasModel, *, tapes: bool = True) -> None:
        self._model = model
        self._tapes = tapes
        self._losses: dict[int | None, Any] = {}  # by replica: their threads take turns
        self._subscription: Subscription | None = None
        self.open()

    def open(self) -> None:
        """Install the hooks, at first or again after ``close``."""
        TAPE_TARGETS.start_listening()
        self._subscription = HOOKS.subscribe(
            {HookPoint.COMPUTE_LOSS: self._on_compute_loss}, self._model
        )

    def step_loss(self, variables: Iterable[TFVariable], scale: Tensor) -> Tensor | None:
        """The loss of the current step as a scalar of the current graph; None if it is unknown.

        Args:
            variables: the variables of the step.
            scale: the factor by which the optimizer expects a tape's target to be scaled.
        """
        # A tensor of another graph cannot be used in this one.
        loss: Any = self._losses.get(current_replica())
        if tf.is_tensor(loss) and loss.shape.rank == 0 and in_current_graph(loss):
            return loss
        target = TAPE_TARGETS.loss(map(variable_id, variables)) if self._tapes else None
        return None if target is None else target / tf.cast(scale, target.dtype)

    def ignore_tapes(self) -> None:
        """No longer use a tape's target as the loss."""
        self._tapes = False

    def close(self) -> None:
        """Remove the hooks."""
        self._losses.clear()
        if self._subscription is not None:
            self._subscription.cancel()
            self._subscription = None
            TAPE_TARGETS.stop_listening()

    def _on_compute_loss(self, call: HookedCall) -> Any:
        loss = call.proceed()
        # `training` is the fifth parameter; validation computes a loss, too.
        if call.kwargs.get("training", call.args[4] if len(call.args) > 4 else True):
            self._losses[current_replica()] = loss
        return loss
