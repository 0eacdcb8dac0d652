"""The loss of each step, from the graph that computes it anyway."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import tensorflow as tf

from saldiag_probes.training import gradient_tape


class StepLossHook:
    """Listens to ``model.compute_loss`` on this one model, and to gradient tapes, until closed.

    ``fit`` goes through ``compute_loss``, and so does a custom ``train_step`` that calls it. The
    value is what ``compute_loss`` returned: with regularisation, before an optimizer scales it.
    Where nobody calls it, the loss is the target of the tape that was target for the gradients.

    Args:
        model: the model.
        tapes: whether to listen to tapes: of several optimizers, each has a loss of its own.
    """

    def __init__(self, model: Any, *, tapes: bool = True) -> None:
        self._model = model
        self._tapes = tapes
        self._open = False
        self._loss: Any = None
        self.open()

    def open(self) -> None:
        """Listen, or listen again after ``close``."""
        self._previous = vars(self._model).get("compute_loss")
        self._hook = self._wrap_compute_loss(self._model.compute_loss)
        # Not through Keras' __setattr__, which tracks what a model is made of.
        object.__setattr__(self._model, "compute_loss", self._hook)
        gradient_tape.start_listening()
        self._open = True

    def step_loss(self, variables: Iterable[Any], scale: Any) -> Any:
        """The loss of a step over ``variables``, as a scalar of the present graph, or ``None``.

        ``scale`` is what the optimizer expects the target of a tape to be multiplied with.
        """
        loss = self._loss
        if tf.is_tensor(loss) and loss.shape.rank == 0 and gradient_tape.in_current_graph(loss):
            return loss
        target = (
            gradient_tape.loss_from_tape(map(gradient_tape.variable_id, variables))
            if self._tapes
            else None
        )
        return None if target is None else target / tf.cast(scale, target.dtype)

    def ignore_tapes(self) -> None:
        """Take no tape's target for the loss from now on."""
        self._tapes = False

    def close(self) -> None:
        """Stop listening."""
        self._loss = None
        if self._open:
            self._open = False
            gradient_tape.stop_listening()
        if vars(self._model).get("compute_loss") is not self._hook:
            return  # somebody else wrapped it since; our hook passes everything through
        if self._previous is None:
            object.__delattr__(self._model, "compute_loss")
        else:
            object.__setattr__(self._model, "compute_loss", self._previous)

    def _wrap_compute_loss(self, original: Any) -> Any:
        def compute_loss(*args: Any, **kwargs: Any) -> Any:
            loss = original(*args, **kwargs)
            if kwargs.get("training", args[4] if len(args) > 4 else True):
                self._loss = loss
            return loss

        return compute_loss
