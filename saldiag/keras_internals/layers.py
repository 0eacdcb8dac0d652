"""Which layers, weights and inputs a layer or model holds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from saldiag.keras_internals.names import LAYER_MODULES


def flattened_layers(model: Any) -> list[Any]:
    """The model and all layers in it, each once; ``Model.layers`` has the direct ones alone."""
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
    """Variables made as trainable, without those of layers inside, frozen or not.

    The public ``trainable_variables`` includes the layers inside and is empty when frozen.
    """
    return list(layer._trainable_variables)


def own_non_trainable_variables(layer: Any) -> list[Any]:
    """Variables made as not trainable, without those of layers inside.

    The public ``non_trainable_variables`` includes the layers inside and frozen weights.
    """
    return list(layer._non_trainable_variables)


def own_weights(layer: Any) -> list[Any]:
    """A layer's variables without those of layers inside, which ``weights`` includes."""
    return [*layer._trainable_variables, *layer._non_trainable_variables]


def own_seed_states(layer: Any) -> list[Any]:
    """States of a layer's own seed generators, which no public attribute lists."""
    return [generator.state for generator in layer._seed_generators]


def track_variable(layer: Any, variable: Any) -> None:
    """Make an existing variable one of the layer's; ``add_weight`` only makes new ones."""
    layer._track_variable(variable)


def takes_training_argument(layer: Any) -> bool:
    """Whether ``call`` takes ``training``; Keras finds out and has no public flag for it."""
    return bool(getattr(layer, "_call_has_training_arg", True))


def added_losses(layer: Any) -> Any:
    """Tensors given to ``add_loss``; the public ``losses`` mixes them with regularization."""
    return layer._losses


def declared_inputs(layer: Any) -> Any:
    """Symbolic inputs as declared, nested; ``inputs`` exists on functional models only."""
    return getattr(layer, "_inputs", None) or []


def input_shape_argument(layer: Any) -> Any:
    """What a layer was given as ``input_shape=``; no public attribute keeps it."""
    return layer._input_shape_arg


def set_variable_dtype(policy: Any, dtype: str) -> None:
    """Give a policy another dtype for variables; policies take both from one public name."""
    policy._variable_dtype = dtype


def is_keras_layer(layer: Any) -> bool:
    """Whether Keras defines the layer's class; the public module name hides behind ``src``."""
    return type(layer).__module__.startswith(LAYER_MODULES)


def output_spec(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Symbolic outputs of any function, building what it calls, as ``fit`` does.

    The public ``compute_output_spec`` is a method of layers and does not build a model's layers.
    """
    from keras.src import backend

    return backend.compute_output_spec(function, *args, **kwargs)
