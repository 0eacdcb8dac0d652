"""Initial states of a training: the variables' given values, or random ones from a seed."""

from __future__ import annotations

import operator
from typing import Any

import keras
import numpy as np

from saldiag.core.keras_types import KerasModel
from saldiag.experiments.interventions.batch_transforms import map_arrays
from saldiag.experiments.interventions.change import Batches
from saldiag.experiments.overfit.mode_errors import batch_size
from saldiag.keras_internals.classes import RandomInitializer
from saldiag.keras_internals.layers import flattened_layers, own_seed_states, own_weights
from saldiag_probes.network.initial_distance import initializer_of, start_distance

MAX_START_DISTANCE = 1.63
"""Kolmogorov-Smirnov distance exceeded by 1 % of freshly drawn weights (Massey 1951)."""


class SeededInitialStates:
    """Restores a model's variables; seeds other than 0 redraw its random initial weights.

    Only variables that still match their random initializer are redrawn: pretrained weights keep
    their values for every seed.
    """

    def __init__(self, model: KerasModel) -> None:
        # Reading shares the buffer until somebody writes.
        self._values = [(v, v.value.read_value()) for v in model.variables]
        self._fresh = list(_variables_at_random_start(model))
        self._seeds = [s for layer in flattened_layers(model) for s in own_seed_states(layer)]

    def restore_seed(self, seed: int) -> None:
        """Set all variables, and all random states, to the initial state of this seed.

        Seed 0 restores the values that the model had when this object was made.
        """
        for variable, value in self._values:
            variable.value.assign(value)
        keras.utils.set_random_seed(seed)
        if seed == 0:
            return
        for number, (variable, initializer) in enumerate(self._fresh):
            variable.assign(_draw_values(initializer, variable, seed * 10_007 + number))
        for number, state in enumerate(self._seeds):
            state.assign(np.array([seed, number], dtype=state.dtype))

    def draw_variable(self, variable: Any, initializer: Any, seed: int, number: int) -> None:
        """Assign values drawn from ``initializer``; ``number`` separates draws of one seed."""
        variable.assign(_draw_values(initializer, variable, seed * 10_007 + number))


def _variables_at_random_start(model: KerasModel) -> Any:
    """Variables that still match their layer's random initializer, each with it."""
    seen: set[int] = set()
    for layer in flattened_layers(model):
        for variable in own_weights(layer):
            initializer = initializer_of(layer, str(variable.name))
            if id(variable) in seen or not isinstance(initializer, RandomInitializer):
                continue
            seen.add(id(variable))
            if start_distance(layer, variable) <= MAX_START_DISTANCE:
                yield variable, initializer


def _draw_values(initializer: Any, variable: Any, seed: int) -> Any:
    settings = {**initializer.get_config(), "seed": seed}
    return type(initializer).from_config(settings)(variable.shape, dtype=variable.dtype)


def reorder_items(batches: Batches, seed: int) -> Batches:
    """Shuffle the items within each batch; seed 0 keeps the order.

    Items never change their batch: batches of a single class each are a fault to be found.
    """
    if seed == 0:
        return batches
    random = np.random.default_rng(seed)
    return tuple(
        map_arrays(operator.itemgetter(random.permutation(batch_size(batch))), batch)
        for batch in batches
    )
