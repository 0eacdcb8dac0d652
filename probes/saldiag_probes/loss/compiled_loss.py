"""What the model is compiled with: loss, optimizer and learning rate, as names and numbers."""

from __future__ import annotations

import functools
import re
from typing import Any

import keras

from saldiag.core.keras_types import KerasLoss, KerasModel, KerasOptimizer
from saldiag.keras_internals.classes import CompileLoss
from saldiag.keras_internals.compilation import (
    compiled_loss,
    is_keras_loss,
    loss_argument,
    loss_weights_argument,
)
from saldiag_probes.state.optimizers import inner_optimizer
from saldiag_probes.trace.layer_facts import plain_values


def training_facts(model: KerasModel, loss: KerasLoss = None) -> dict[str, Any]:
    """Loss, optimizer and learning rate, keyed by the names of ``Wiring``'s fields.

    Without a loss its name is ``none``; without an optimizer its name is ``none`` and the learning
    rate nan.

    Args:
        model: any Keras model.
        loss: used in place of the compiled loss.
    """
    return {
        "loss": loss_name(model, loss),
        "loss_config": loss_config(model, loss),
        "loss_weights": loss_weights(model),
        **optimizer_facts(getattr(model, "optimizer", None)),
    }


def optimizer_facts(optimizer: KerasOptimizer | None) -> dict[str, Any]:
    """The part of ``training_facts`` that describes the optimizer."""
    inner = inner_optimizer(optimizer)
    return {
        "optimizer": type(inner).__name__ if inner is not None else "none",
        "optimizer_config": _optimizer_config(inner),
        "learning_rate": learning_rate(inner),
        "loss_scaled": scales_loss(optimizer),
    }


def loss_weights(model: KerasModel) -> tuple[float, ...]:
    """The factors of ``compile(loss_weights=…)`` in the given order; empty if there are none."""
    given = loss_weights_argument(compiled_loss(model))
    parts = [] if given is None else keras.tree.flatten(given)
    return tuple(float(part) for part in parts if isinstance(part, (int, float)))


def loss_scaled(model: KerasModel) -> bool:
    """Whether the model's optimizer scales the loss against underflow."""
    return scales_loss(getattr(model, "optimizer", None))


def scales_loss(optimizer: KerasOptimizer | None) -> bool:
    """Whether an optimizer scales the loss against underflow."""
    return isinstance(optimizer, keras.optimizers.LossScaleOptimizer) or (
        getattr(optimizer, "loss_scale_factor", None) is not None
    )


def loss_scale(optimizer: KerasOptimizer | None) -> float:
    """The factor by which an optimizer scales the loss at present; 1 without loss scaling."""
    if optimizer is None or not scales_loss(optimizer):
        return 1.0
    if optimizer.loss_scale_factor is not None:
        return float(optimizer.loss_scale_factor)
    return float(optimizer.dynamic_scale if optimizer.built else optimizer.initial_scale)


def learning_rate(optimizer: KerasOptimizer | None) -> float:
    """The current value; a schedule is evaluated at the optimizer's step. nan for None."""
    if optimizer is None:
        return float("nan")
    return float(keras.ops.convert_to_tensor(optimizer.learning_rate).numpy())


def _optimizer_config(optimizer: KerasOptimizer | None) -> dict[str, Any]:
    try:
        return plain_values(optimizer.get_config()) if optimizer is not None else {}
    except Exception:  # raised by a custom optimizer
        return {}


def compiled_losses(model: KerasModel, loss: KerasLoss = None) -> list[Any]:
    """The losses in use, as objects or functions; several for several outputs."""
    given = loss if loss is not None else getattr(model, "loss", None)
    found = [part for part in keras.tree.flatten(given) if part is not None]
    return [_resolve_loss(part) for part in found]


def _resolve_loss(loss: KerasLoss) -> Any:
    if not isinstance(loss, (str, dict)):
        return loss
    try:
        return keras.losses.get(loss)
    except ValueError:  # "crossentropy" and the like: Keras resolves them once it sees data
        return loss


def overrides_compute_loss(model: KerasModel) -> bool:
    """Whether the model overrides ``compute_loss``."""
    return type(model).compute_loss is not keras.Model.compute_loss


def loss_name(model: KerasModel, loss: KerasLoss = None) -> str:
    """Name of the loss as Keras spells it, ``custom:NAME`` for others, ``none`` without a loss.

    Different losses of several outputs are joined by ``+``.
    """
    if loss is None and overrides_compute_loss(model):
        return "custom:compute_loss"
    names = dict.fromkeys(single_loss_name(part) for part in compiled_losses(model, loss))
    return "+".join(names) or "none"


def single_loss_name(loss: KerasLoss) -> str:
    """Name of one loss as Keras spells it, or ``custom:NAME``."""
    if isinstance(loss, str):
        return loss
    function: Any = getattr(loss, "fn", loss)
    while isinstance(function, functools.partial):
        function = function.func
    owner: Any = function if hasattr(function, "__name__") else type(function)
    of_keras = is_keras_loss(owner)
    name = str(owner.__name__)
    if isinstance(owner, type):
        name = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower() if of_keras else name
    return name if of_keras else f"custom:{name}"


def loss_config(model: KerasModel, loss: KerasLoss = None) -> dict[str, Any]:
    """The plain part of the loss's configuration (``from_logits``, ``reduction``, …).

    Empty for a function, and if several losses are in use.
    """
    losses = compiled_losses(model, loss)
    return single_loss_config(losses[0]) if len(losses) == 1 else {}


def single_loss_config(loss: KerasLoss) -> dict[str, Any]:
    """The plain part of one loss's configuration; empty for a function."""
    if not isinstance(loss, keras.losses.Loss):
        return {}
    try:
        return plain_values(loss.get_config())
    except Exception:  # raised by a custom loss
        return {}


def standalone_loss(model: KerasModel) -> Any:
    """A new loss object like the compiled one: ``loss(y, y_pred, sample_weight)``.

    It computes what ``compile`` was given (names, functions, weights, several outputs), without
    regularisation, and does not touch the model's own loss. None if the model is not compiled with
    a loss.
    """
    compiled = compiled_loss(model)
    if compiled is None:
        return None
    return CompileLoss(
        loss_argument(compiled),
        loss_weights_argument(compiled),
        output_names=compiled.output_names,
    )
