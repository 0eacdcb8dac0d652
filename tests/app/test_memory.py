"""Diagnosing models one after the other keeps memory flat."""

from __future__ import annotations

import gc
from typing import Any

import numpy as np
import pytest

from tests.support import models

pytestmark = [pytest.mark.tensorflow, pytest.mark.slow]


def diagnose_a_model(keras: Any) -> None:
    import saldiag

    layers = keras.layers.Dense(8, activation="relu"), keras.layers.Dropout(0.5)
    model = models.sequential((8,), *layers, keras.layers.Dense(1))
    model.compile("adam", "mse")
    x = np.random.default_rng(0).normal(size=(64, 8)).astype("float32")
    saldiag.diagnose(model, (x, x[:, :1]), steps=20)


def left_in_memory(keras: Any) -> dict[str, int]:
    """Graphs, models and custom gradients."""
    from tensorflow.python.framework import func_graph, ops

    gc.collect()
    objects = gc.get_objects()
    return {
        "graphs": sum(isinstance(o, func_graph.FuncGraph) for o in objects),
        "models": sum(isinstance(o, keras.Model) for o in objects),
        "gradients": len(list(ops.gradient_registry.list())),
    }


def test_a_diagnosis_keeps_nothing(keras: Any) -> None:
    keras.utils.set_random_seed(1)
    diagnose_a_model(keras)  # what is made once stays
    before = left_in_memory(keras)
    diagnose_a_model(keras)
    assert left_in_memory(keras) == before
