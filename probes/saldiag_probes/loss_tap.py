"""The loss of each step, from the graph that computes it anyway."""

from __future__ import annotations

from typing import Any

import tensorflow as tf


class LossTap:
    """Listens to ``model.compute_loss`` on this one model until closed.

    ``fit`` goes through ``compute_loss``, and so does a custom ``train_step`` that calls it; the
    loss of one that does not is unknown. The value is what ``compute_loss`` returned: with
    regularisation, before an optimizer scales it.
    """

    def __init__(self, model: Any) -> None:
        self._model = model
        self._loss: Any = None
        self._before = vars(model).get("compute_loss")
        self._hook = self._hooked(model.compute_loss)
        # Not through Keras' __setattr__, which tracks what a model is made of.
        object.__setattr__(model, "compute_loss", self._hook)

    def loss(self) -> Any:
        """The loss computed last in the present graph (or eagerly), as a scalar, or ``None``."""
        loss = self._loss
        if not tf.is_tensor(loss) or loss.shape.rank != 0:
            return None
        if isinstance(loss, tf.__internal__.EagerTensor):
            return loss if tf.executing_eagerly() else None
        here = None if tf.executing_eagerly() else tf.compat.v1.get_default_graph()
        return loss if loss.graph is here else None

    def close(self) -> None:
        """Stop listening."""
        self._loss = None
        if vars(self._model).get("compute_loss") is not self._hook:
            return  # somebody else wrapped it since; our hook passes everything through
        if self._before is None:
            object.__delattr__(self._model, "compute_loss")
        else:
            object.__setattr__(self._model, "compute_loss", self._before)

    def _hooked(self, original: Any) -> Any:
        def compute_loss(*args: Any, **kwargs: Any) -> Any:
            loss = original(*args, **kwargs)
            if kwargs.get("training", args[4] if len(args) > 4 else True):
                self._loss = loss
            return loss

        return compute_loss
