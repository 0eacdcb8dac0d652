"""Changes to what ``compile`` sets: optimizer, loss, training step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras

from saldiag.core.keras_types import KerasModel, KerasOptimizer
from saldiag.experiments.interventions.base import NotApplicable
from saldiag.experiments.interventions.change import Swap
from saldiag.keras_internals.classes import CompileLoss
from saldiag.keras_internals.compilation import compiled_loss
from saldiag.keras_internals.names import COMPILED_LOSS, COMPILED_METRICS, LOSS_METHOD
from saldiag.keras_internals.optimizers import learning_rate_setting
from saldiag_probes.loss.compiled_loss import learning_rate, overrides_compute_loss
from saldiag_probes.state.optimizers import inner_optimizer


def current_learning_rate(model: KerasModel) -> float:
    """The learning rate now; of a schedule, its value at the optimizer's current step."""
    return learning_rate(inner_optimizer(model.optimizer))


def rebuild_optimizer(optimizer: KerasOptimizer, **settings: Any) -> Any:
    """A new, unbuilt optimizer of the same class with some settings changed.

    A ``LossScaleOptimizer`` around it is kept.

    Args:
        optimizer: the optimizer to copy.
        **settings: constructor arguments that differ.

    Raises:
        NotApplicable: it cannot be rebuilt from its configuration.
    """
    given = inner_optimizer(optimizer)
    try:
        config = dict(given.get_config())
        rate = learning_rate_setting(given)
        if not isinstance(rate, keras.Variable):
            config["learning_rate"] = rate
        fresh = type(given).from_config({**config, **settings})
    except Exception as error:  # a user's own optimizer
        raise NotApplicable(
            f"the optimizer cannot be rebuilt from its configuration: {error}"
        ) from error
    return fresh if given is optimizer else keras.optimizers.LossScaleOptimizer(fresh)


def has_custom_train_step(model: KerasModel) -> bool:
    """Whether the model overrides ``train_step``."""
    return type(model).train_step is not keras.Model.train_step


def require_compiled_loss(model: KerasModel) -> None:
    """Check that the training step uses the compiled loss.

    A custom step counts as using it if its code names ``compute_loss``.

    Raises:
        NotApplicable: a custom training step computes the loss elsewhere.
    """
    names = getattr(getattr(type(model).train_step, "__code__", None), "co_names", ())
    if has_custom_train_step(model) and not {"compute_loss", LOSS_METHOD} & set(names):
        raise NotApplicable("the custom training step does not use the compiled loss")


def swaps_for_loss(model: KerasModel, loss: Any) -> tuple[Swap, ...]:
    """Swaps that compile the model with another loss.

    Metrics are switched off: those that were compiled need not fit the loss.

    Args:
        model: the compiled model.
        loss: one loss for all outputs, or one for each in the structure of the targets.

    Raises:
        NotApplicable: the training step does not use the compiled loss.
    """
    require_compiled_loss(model)
    compiled = CompileLoss(loss, None, output_names=getattr(model, "output_names", None))
    swaps = [
        Swap(model, COMPILED_LOSS, compiled, tracked=False),
        Swap(model, "loss", loss, tracked=False),
        Swap(model, COMPILED_METRICS, None, tracked=False),
    ]
    if overrides_compute_loss(model):
        swaps.append(_swap_keras_method(model, "compute_loss"))
    return tuple(swaps)


def swaps_for_keras_step(model: KerasModel) -> tuple[Swap, ...]:
    """Swaps that put Keras' ``train_step`` and ``compute_loss`` in place of the model's.

    Raises:
        NotApplicable: the model overrides neither, or no loss is compiled.
    """
    if not has_custom_train_step(model) and not overrides_compute_loss(model):
        raise NotApplicable("the training step and the loss are already Keras' own")
    if compiled_loss(model) is None:
        raise NotApplicable("no loss is compiled, and Keras' training step needs one")
    names = ["train_step"] * has_custom_train_step(model) + [
        "compute_loss"
    ] * overrides_compute_loss(model)
    return tuple(_swap_keras_method(model, name) for name in names)


def _swap_keras_method(model: KerasModel, name: str) -> Swap:
    method: Callable[..., Any] = getattr(keras.Model, name)
    return Swap(model, name, method.__get__(model), tracked=False)


def swap_scaled_loss(model: KerasModel, factor: float) -> Swap:
    """A swap that multiplies the model's loss, penalties included, by a factor.

    Raises:
        NotApplicable: the training step does not use the compiled loss.
    """
    require_compiled_loss(model)
    computed = model.compute_loss

    def scaled_loss(*given: Any, **named: Any) -> Any:
        return factor * computed(*given, **named)

    return Swap(model, "compute_loss", scaled_loss, tracked=False)
