"""Paths of layers and variables."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support import models

pytestmark = pytest.mark.tensorflow


def nested(keras: Any) -> Any:
    shared = keras.layers.Dense(3, name="shared")

    class Block(keras.layers.Layer):
        def __init__(self, **kwargs: Any) -> None:
            super().__init__(**kwargs)
            self.branches = [keras.layers.Dense(3, name="branch") for _ in range(2)]
            self.table = {"a": keras.layers.Dense(3, name="in_dict")}
            self.pair = (shared, keras.layers.Dropout(0.5, seed=1, name="drop"))

        def call(self, x: Any) -> Any:
            for layer in [*self.branches, self.table["a"], *self.pair]:
                x = layer(x)
            return x

    inner = models.sequential((3,), keras.layers.Dense(3, name="d"), name="inner")
    inputs = keras.Input((3,), name="input")
    x = inner(inputs)
    x = Block(name="block")(x)
    return keras.Model(inputs, shared(x), name="outer")


def test_paths_follow_the_nesting(keras: Any) -> None:
    from saldiag_probes.trace.paths import layer_paths

    paths = [p for p in layer_paths(nested(keras)).values() if "input_layer" not in p]
    assert paths[:5] == ["", "input", "inner", "inner/d", "block"]
    assert set(paths[5:]) == {
        "block/branch", "block/branch~2", "block/in_dict", "block/shared", "block/drop",
    }  # fmt: skip


def test_each_layer_has_one_path(keras: Any) -> None:
    from saldiag_probes.trace.paths import layer_paths

    model = nested(keras)
    paths = layer_paths(model)
    assert set(paths) == {id(layer) for layer in model._flatten_layers()}
    assert len(set(paths.values())) == len(paths)
    assert list(paths.items()) == list(layer_paths(model).items())


def test_each_variable_has_one_path(keras: Any) -> None:
    from saldiag_probes.trace.paths import variable_paths

    model = nested(keras)
    paths = variable_paths(model)
    assert {id(variable) for variable in model.variables} == set(paths)
    values = [path for _, path in paths.values()]
    assert len(set(values)) == len(values)
    assert ("inner/d", "inner/d/kernel") in paths.values()
    assert ("block/branch~2", "block/branch~2/bias") in paths.values()
    assert ("block/drop", "block/drop/seed_generator_state") in paths.values()


def test_wrapped_and_recurrent_layers(keras: Any) -> None:
    from saldiag_probes.trace.paths import variable_paths

    layers = keras.layers
    model = models.sequential(
        (4, 2),
        layers.Bidirectional(layers.LSTM(2, return_sequences=True, name="lstm"), name="both"),
        layers.TimeDistributed(layers.Dense(1, name="dense"), name="each"),
    )
    paths = {path for _, path in variable_paths(model).values()}
    assert "both/forward_lstm/lstm_cell/kernel" in paths
    assert "both/backward_lstm/lstm_cell/bias" in paths
    assert "each/dense/kernel" in paths


def test_a_variable_of_no_layer_keeps_its_own_path(keras: Any) -> None:
    from saldiag_probes.trace.paths import variable_paths

    stray = keras.Variable([1.0], name="stray")

    class Odd(keras.Model):
        @property
        def variables(self) -> list[Any]:
            return [stray]

    assert variable_paths(Odd())[id(stray)] == ("", "stray")
