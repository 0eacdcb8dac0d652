"""The arguments that the repair knows by heart are those of the Keras that is installed."""

from __future__ import annotations

import inspect

import pytest

from saldiag.core.findings.edit import COMPILE
from saldiag.repair.signatures import LOSS_ALIASES, POSITIONAL_ARGUMENTS, is_default

pytestmark = pytest.mark.tensorflow
DEFAULTS = {"activation", "dtype", "use_bias", "from_logits", "learning_rate", "epsilon"}


def parameters(keras, kind: str) -> dict[str, inspect.Parameter]:
    if kind == COMPILE:
        found = keras.Model.compile
    else:
        rooms = (keras.layers, keras.optimizers, keras.losses)
        found = next(getattr(room, kind) for room in rooms if hasattr(room, kind)).__init__
    return dict(list(inspect.signature(found).parameters.items())[1:])


@pytest.mark.parametrize("kind", sorted(POSITIONAL_ARGUMENTS))
def test_positions_are_those_of_keras(kind: str, keras) -> None:
    names = list(parameters(keras, kind))
    assert tuple(names[: len(POSITIONAL_ARGUMENTS[kind])]) == POSITIONAL_ARGUMENTS[kind]


@pytest.mark.parametrize("kind", sorted(set(POSITIONAL_ARGUMENTS) - {COMPILE}))
def test_defaults_are_those_of_keras(kind: str, keras) -> None:
    for name, parameter in parameters(keras, kind).items():
        if name in DEFAULTS and parameter.default is not inspect.Parameter.empty:
            assert is_default(kind, name, parameter.default), (kind, name)
            assert not is_default(kind, name, "other")


@pytest.mark.parametrize("kind", sorted(LOSS_ALIASES))
def test_short_names_are_those_of_keras(kind: str, keras) -> None:
    for name in LOSS_ALIASES[kind]:
        made = keras.losses.get(name)
        whole = keras.losses.get(kind)
        assert made is getattr(keras.losses, LOSS_ALIASES[kind][0]) or type(made) is type(whole)


def test_every_layer_takes_a_dtype_by_name(keras) -> None:
    for kind in ("Dense", "Conv2D", "Activation", "Reshape", "Flatten"):
        arguments = {"Dense": (1,), "Conv2D": (1, 1), "Activation": ("relu",), "Reshape": ((1,),)}
        layer = getattr(keras.layers, kind)(*arguments.get(kind, ()), dtype="float32")
        assert layer.compute_dtype == "float32"
