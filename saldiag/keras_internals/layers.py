"""Which layers, weights and inputs a layer or model holds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from saldiag.keras_internals.names import LAYER_MODULES


def flattened_layers(model: Any) -> list[Any]:
    """The model and all layers in it, each once; ``Model.layers`` has only the direct ones."""
    return list(model._flatten_layers())


def nested_layers(layer: Any) -> list[Any]:
    """All layers inside a layer, at any depth; ``Layer`` has no public list of them."""
    return list(layer._flatten_layers(include_self=False))


def child_layers(layer: Any) -> list[Any]:
    """The layers that a layer holds directly; ``Layer`` has no public list of them."""
    return list(layer._flatten_layers(include_self=False, recursive=False))


def has_layers(model: Any) -> bool:
    """Whether a Sequential has a layer or an input yet; ``Sequential.layers`` omits the input."""
    return bool(model._layers)


def own_trainable_variables(layer: Any) -> list[Any]:
    """Variables created as trainable, without those of inner layers, frozen or not.

    The public ``trainable_variables`` includes the layers inside and is empty when frozen.
    """
    return list(layer._trainable_variables)


def own_non_trainable_variables(layer: Any) -> list[Any]:
    """Variables created as not trainable, without those of inner layers.

    The public ``non_trainable_variables`` includes the layers inside and frozen weights.
    """
    return list(layer._non_trainable_variables)


def own_weights(layer: Any) -> list[Any]:
    """A layer's variables without those of inner layers, which ``weights`` includes."""
    return [*layer._trainable_variables, *layer._non_trainable_variables]


def own_seed_states(layer: Any) -> list[Any]:
    """States of a layer's own seed generators, which no public attribute lists."""
    return [generator.state for generator in layer._seed_generators]


def track_variable(layer: Any, variable: Any) -> None:
    """Add an existing variable to a layer; ``add_weight`` only creates new ones."""
    layer._track_variable(variable)


def takes_training_argument(layer: Any) -> bool:
    """Whether ``call`` accepts ``training``; Keras knows, but has no public flag."""
    return bool(getattr(layer, "_call_has_training_arg", True))


def added_losses(layer: Any) -> Any:
    """Tensors given to ``add_loss``; the public ``losses`` mixes them with regularization."""
    return layer._losses


def declared_inputs(layer: Any) -> Any:
    """Symbolic inputs as declared, nested; ``inputs`` exists on functional models only."""
    return getattr(layer, "_inputs", None) or []


def input_shape_argument(layer: Any) -> Any:
    """The ``input_shape=`` given to a layer; no public attribute stores it."""
    return layer._input_shape_arg


def set_variable_dtype(policy: Any, dtype: str) -> None:
    """Set a policy's variable dtype alone; a public policy name sets both dtypes."""
    policy._variable_dtype = dtype


def is_keras_layer(layer: Any) -> bool:
    """Whether the layer's class is defined by Keras; its module is not the public one."""
    return type(layer).__module__.startswith(LAYER_MODULES)


def output_spec(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Symbolic outputs of any function; builds the layers that it calls, as ``fit`` does.

    The public ``compute_output_spec`` is a method of layers and does not build a model's layers.
    """
    from keras.src import backend

    return backend.compute_output_spec(function, *args, **kwargs)
