"""Starts of a training: everything a model is made of as it was, and again from another seed."""

from __future__ import annotations

import operator
from typing import Any

import keras
import numpy as np

from saldiag.experiments.interventions.batch_transforms import each_array
from saldiag.experiments.interventions.change import Batches
from saldiag.experiments.overfit.mode_errors import batch_size
from saldiag.keras_internals.classes import RandomInitializer
from saldiag.keras_internals.layers import flattened_layers, own_seed_states, own_weights
from saldiag_probes.network.initial_distance import initializer_of, start_distance

AT_START = 1.63
"""Kolmogorov-Smirnov distance exceeded by 1 % of fresh weights (Massey 1951)."""


class Starts:
    """Puts a model's variables back to what they were; for other seeds than 0 draws anew.

    Drawn anew is what is still at its random start; weights that were learnt somewhere stay.
    """

    def __init__(self, model: Any) -> None:
        # Reading shares the buffer until somebody writes.
        self._values = [(v, v.value.read_value()) for v in model.variables]
        self._fresh = list(_fresh(model))
        self._seeds = [s for layer in flattened_layers(model) for s in own_seed_states(layer)]

    def restore(self, seed: int) -> None:
        """Set all variables to the start of that seed; 0 is the start as it was given."""
        for variable, value in self._values:
            variable.value.assign(value)
        keras.utils.set_random_seed(seed)
        if seed == 0:
            return
        for number, (variable, initializer) in enumerate(self._fresh):
            variable.assign(_drawn(initializer, variable, seed * 10_007 + number))
        for number, state in enumerate(self._seeds):
            state.assign(np.array([seed, number], dtype=state.dtype))

    def draw(self, variable: Any, initializer: Any, seed: int, number: int) -> None:
        """Draw one variable from another initializer."""
        variable.assign(_drawn(initializer, variable, seed * 10_007 + number))


def _fresh(model: Any) -> Any:
    """Variables that are still at the random start of their layer, with the initializer."""
    seen: set[int] = set()
    for layer in flattened_layers(model):
        for variable in own_weights(layer):
            initializer = initializer_of(layer, str(variable.name))
            if id(variable) in seen or not isinstance(initializer, RandomInitializer):
                continue
            seen.add(id(variable))
            if start_distance(layer, variable) <= AT_START:
                yield variable, initializer


def _drawn(initializer: Any, variable: Any, seed: int) -> Any:
    settings = {**initializer.get_config(), "seed": seed}
    return type(initializer).from_config(settings)(variable.shape, dtype=variable.dtype)


def reordered(batches: Batches, seed: int) -> Batches:
    """The same items of each batch in another order; as given for seed 0.

    What is together in a batch stays together: batches that hold one class each are a fault.
    """
    if seed == 0:
        return batches
    random = np.random.default_rng(seed)
    return tuple(
        each_array(operator.itemgetter(random.permutation(batch_size(batch))), batch)
        for batch in batches
    )
