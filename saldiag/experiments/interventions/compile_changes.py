"""What an experiment changes of a model's compilation: optimizer, loss, training step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras

from saldiag.experiments.interventions.base import NotApplicable
from saldiag.experiments.interventions.change import Swap
from saldiag.keras_internals.classes import CompileLoss
from saldiag.keras_internals.compilation import compiled_loss
from saldiag.keras_internals.names import COMPILED_LOSS, COMPILED_METRICS, LOSS_METHOD
from saldiag.keras_internals.optimizers import learning_rate_setting
from saldiag_probes.loss.compiled_loss import learning_rate, overrides_compute_loss
from saldiag_probes.state.optimizers import inner


def rate_of(model: Any) -> float:
    """The learning rate at present; a schedule's at the optimizer's step."""
    return learning_rate(inner(model.optimizer))


def rebuilt(optimizer: Any, **settings: Any) -> Any:
    """A new optimizer of the same kind, not built, with other settings; a scaled loss stays so.

    Raises:
        NotApplicable: it cannot be made anew from its configuration.
    """
    given = inner(optimizer)
    try:
        config = dict(given.get_config())
        rate = learning_rate_setting(given)
        if not isinstance(rate, keras.Variable):
            config["learning_rate"] = rate
        fresh = type(given).from_config({**config, **settings})
    except Exception as error:  # a user's own optimizer
        raise NotApplicable(f"the optimizer cannot be made anew: {error}") from error
    return fresh if given is optimizer else keras.optimizers.LossScaleOptimizer(fresh)


def own_step(model: Any) -> bool:
    """Whether the model takes its training step by code of its own."""
    return type(model).train_step is not keras.Model.train_step


def need_loss_of_model(model: Any) -> None:
    """Make sure that the training step takes the model's loss.

    Raises:
        NotApplicable: a step of the model's own computes the loss elsewhere.
    """
    names = getattr(getattr(type(model).train_step, "__code__", None), "co_names", ())
    if own_step(model) and not {"compute_loss", LOSS_METHOD} & set(names):
        raise NotApplicable("the model's own training step does not take the compiled loss")


def with_loss(model: Any, loss: Any) -> tuple[Swap, ...]:
    """The model compiled with another loss, the same for all its outputs or one for each.

    Metrics are left out: those that a user compiled need not fit the loss.

    Raises:
        NotApplicable: the model's training step does not take the compiled loss.
    """
    need_loss_of_model(model)
    compiled = CompileLoss(loss, None, output_names=getattr(model, "output_names", None))
    swaps = [
        Swap(model, COMPILED_LOSS, compiled, tracked=False),
        Swap(model, "loss", loss, tracked=False),
        Swap(model, COMPILED_METRICS, None, tracked=False),
    ]
    if overrides_compute_loss(model):
        swaps.append(_of_keras(model, "compute_loss"))
    return tuple(swaps)


def with_keras_step(model: Any) -> tuple[Swap, ...]:
    """Keras' own training step, and its loss, in place of the model's.

    Raises:
        NotApplicable: they are Keras' own already, or there is no compiled loss to go by.
    """
    if not own_step(model) and not overrides_compute_loss(model):
        raise NotApplicable("training step and loss are Keras' own")
    if compiled_loss(model) is None:
        raise NotApplicable("no loss is compiled, so that Keras' training step would have none")
    names = ["train_step"] * own_step(model) + ["compute_loss"] * overrides_compute_loss(model)
    return tuple(_of_keras(model, name) for name in names)


def _of_keras(model: Any, name: str) -> Swap:
    method: Callable[..., Any] = getattr(keras.Model, name)
    return Swap(model, name, method.__get__(model), tracked=False)


def times_loss(model: Any, factor: float) -> Swap:
    """The model's loss, with its penalties, times a number.

    Raises:
        NotApplicable: the model's training step does not take it.
    """
    need_loss_of_model(model)
    computed = model.compute_loss

    def scaled(*given: Any, **named: Any) -> Any:
        return factor * computed(*given, **named)

    return Swap(model, "compute_loss", scaled, tracked=False)
