"""By what a model is judged: its loss, optimizer and learning rate, in words and numbers."""

from __future__ import annotations

import functools
import re
from typing import Any

import keras

from saldiag.keras_internals.classes import CompileLoss
from saldiag.keras_internals.compilation import (
    compiled_loss,
    is_keras_loss,
    loss_argument,
    loss_weights_argument,
)
from saldiag_probes.state.optimizers import inner
from saldiag_probes.trace.layer_facts import plain


def training_facts(model: Any, loss: Any = None) -> dict[str, Any]:
    """Loss, optimizer and learning rate under the names of ``Wiring``'s fields.

    ``loss`` stands in for the compiled one. Without either the loss is ``none``; without an
    optimizer its name is ``none`` and the learning rate nan.
    """
    return {
        "loss": loss_name(model, loss),
        "loss_config": loss_config(model, loss),
        "loss_weights": loss_weights(model),
        **optimizer_facts(getattr(model, "optimizer", None)),
    }


def optimizer_facts(optimizer: Any) -> dict[str, Any]:
    """What of ``Wiring`` an optimizer tells."""
    own = inner(optimizer)
    return {
        "optimizer": type(own).__name__ if own is not None else "none",
        "optimizer_config": _optimizer_config(own),
        "learning_rate": learning_rate(own),
        "loss_scaled": scales_loss(optimizer),
    }


def loss_weights(model: Any) -> tuple[float, ...]:
    """The factors of ``compile(loss_weights=…)``, in the order given; none where none were."""
    given = loss_weights_argument(compiled_loss(model))
    parts = [] if given is None else keras.tree.flatten(given)
    return tuple(float(part) for part in parts if isinstance(part, (int, float)))


def loss_scaled(model: Any) -> bool:
    """Whether the model's optimizer scales the loss against underflow."""
    return scales_loss(getattr(model, "optimizer", None))


def scales_loss(optimizer: Any) -> bool:
    """Whether an optimizer scales the loss against underflow."""
    return isinstance(optimizer, keras.optimizers.LossScaleOptimizer) or (
        getattr(optimizer, "loss_scale_factor", None) is not None
    )


def loss_scale(optimizer: Any) -> float:
    """The factor that an optimizer puts on the loss at present; 1 without loss scaling."""
    if not scales_loss(optimizer):
        return 1.0
    if optimizer.loss_scale_factor is not None:
        return float(optimizer.loss_scale_factor)
    return float(optimizer.dynamic_scale if optimizer.built else optimizer.initial_scale)


def learning_rate(optimizer: Any) -> float:
    """The present value; a schedule is evaluated at the optimizer's step."""
    if optimizer is None:
        return float("nan")
    return float(keras.ops.convert_to_tensor(optimizer.learning_rate).numpy())


def _optimizer_config(optimizer: Any) -> dict[str, Any]:
    try:
        return plain(optimizer.get_config()) if optimizer is not None else {}
    except Exception:  # a custom optimizer's own code
        return {}


def compiled_losses(model: Any, loss: Any = None) -> list[Any]:
    """The losses in use, resolved to objects or functions; several for several outputs."""
    given = loss if loss is not None else getattr(model, "loss", None)
    found = [part for part in keras.tree.flatten(given) if part is not None]
    return [_resolve(part) for part in found]


def _resolve(loss: Any) -> Any:
    if not isinstance(loss, (str, dict)):
        return loss
    try:
        return keras.losses.get(loss)
    except ValueError:  # "crossentropy" and its like are resolved by Keras with the data at hand
        return loss


def overrides_compute_loss(model: Any) -> bool:
    """Whether the model computes its loss by code of its own."""
    return type(model).compute_loss is not keras.Model.compute_loss


def loss_name(model: Any, loss: Any = None) -> str:
    """Name of the loss as Keras spells it, ``custom:NAME`` for others, ``none`` without one.

    Distinct losses of several outputs are joined by ``+``.
    """
    if loss is None and overrides_compute_loss(model):
        return "custom:compute_loss"
    names = dict.fromkeys(name_of(part) for part in compiled_losses(model, loss))
    return "+".join(names) or "none"


def name_of(loss: Any) -> str:
    """Name of one loss as Keras spells it, or ``custom:NAME``."""
    if isinstance(loss, str):
        return loss
    function = getattr(loss, "fn", loss)
    while isinstance(function, functools.partial):
        function = function.func
    owner = function if hasattr(function, "__name__") else type(function)
    of_keras = is_keras_loss(owner)
    name = str(owner.__name__)
    if isinstance(owner, type):
        name = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower() if of_keras else name
    return name if of_keras else f"custom:{name}"


def loss_config(model: Any, loss: Any = None) -> dict[str, Any]:
    """The plain part of the loss's configuration (``from_logits``, ``reduction``, …).

    Empty for a function and where several losses are in use.
    """
    losses = compiled_losses(model, loss)
    return config_of(losses[0]) if len(losses) == 1 else {}


def config_of(loss: Any) -> dict[str, Any]:
    """The plain part of one loss's configuration; empty for a function."""
    if not isinstance(loss, keras.losses.Loss):
        return {}
    try:
        return plain(loss.get_config())
    except Exception:  # a custom loss's own code
        return {}


def plain_loss(model: Any) -> Any:
    """The compiled loss as an object apart from the model: ``loss(y, y_pred, sample_weight)``.

    It computes what ``compile`` was given (names, functions, weights, several outputs), without
    regularisation, and leaves the model's own loss alone. None where the model is not compiled
    with a loss.
    """
    compiled = compiled_loss(model)
    if compiled is None:
        return None
    return CompileLoss(
        loss_argument(compiled),
        loss_weights_argument(compiled),
        output_names=compiled.output_names,
    )
