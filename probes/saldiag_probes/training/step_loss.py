"""The loss of each step, taken from the graph that computes it anyway."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import tensorflow as tf

from saldiag.core.keras_types import KerasModel, Tensor, TFVariable
from saldiag.core.patching import Patch
from saldiag_probes.training import gradient_tape
from saldiag_probes.training.replica_context import current_replica


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
        self._open = False
        self._losses: dict[int | None, Any] = {}  # by replica: their threads take turns
        self.open()

    def open(self) -> None:
        """Install the hook, at first or again after ``close``."""
        hook = self._wrap_compute_loss(self._model.compute_loss)
        self._patch = Patch(self._model, "compute_loss", hook, untracked=True)
        gradient_tape.start_listening()
        self._open = True

    def step_loss(self, variables: Iterable[TFVariable], scale: Tensor) -> Tensor | None:
        """The loss of the current step as a scalar of the current graph; None if it is unknown.

        Args:
            variables: the variables of the step.
            scale: the factor by which the optimizer expects a tape's target to be scaled.
        """
        # A tensor of another graph cannot be used in this one.
        loss: Any = self._losses.get(current_replica())
        if tf.is_tensor(loss) and loss.shape.rank == 0 and gradient_tape.in_current_graph(loss):
            return loss
        target = (
            gradient_tape.loss_from_tape(map(gradient_tape.variable_id, variables))
            if self._tapes
            else None
        )
        return None if target is None else target / tf.cast(scale, target.dtype)

    def ignore_tapes(self) -> None:
        """No longer use a tape's target as the loss."""
        self._tapes = False

    def close(self) -> None:
        """Remove the hook."""
        self._losses.clear()
        if self._open:
            self._open = False
            gradient_tape.stop_listening()
        self._patch.withdraw()

    def _wrap_compute_loss(self, original: Any) -> Any:
        def compute_loss(*args: Any, **kwargs: Any) -> Any:
            loss = original(*args, **kwargs)
            # `training` is the fifth parameter; validation computes a loss, too.
            if kwargs.get("training", args[4] if len(args) > 4 else True):
                self._losses[current_replica()] = loss
            return loss

        return compute_loss
