"""The same items with other inputs, or in another order."""

from __future__ import annotations

from typing import Any, ClassVar

import keras
import numpy as np

from saldiag.experiments.interventions.base import Intervention, NotApplicable
from saldiag.experiments.interventions.batch_transforms import (
    join_batches,
    map_batch_part,
    split_like,
)
from saldiag.experiments.interventions.change import Batches, Change, Swap
from saldiag.experiments.interventions.workbench import Workbench
from saldiag.keras_internals.layers import declared_inputs
from saldiag.keras_internals.names import TENSOR_DTYPE

_SCALING_LAYERS = (keras.layers.Rescaling, keras.layers.Normalization)
"""Layers that rescale their input, bypassed while inputs are normalised."""


class NormalisedInputs(Intervention):
    """Scales every channel to mean 0 and standard deviation 1.

    LeCun et al., Efficient BackProp, 1998, section 4.3. Rescaling layers of the model are bypassed:
    the scaled values have to reach the first weights.
    """

    name = "normalised-inputs"
    states = "the inputs are badly scaled for the model"
    answers: ClassVar[tuple[str, ...]] = ("SD601", "SD612", "SD613")
    words: ClassVar[tuple[str, ...]] = ("normali", "input scale", "scaled", "preprocess", "inputs")

    def change(self, lab: Workbench) -> Change:
        parts = [np.asarray(p) for p in keras.tree.flatten(join_batches(lab.batches)[0])]
        if not all(np.issubdtype(part.dtype, np.floating) for part in parts):
            raise NotApplicable("the inputs are integers and may be category numbers")
        bypassed = {
            path: layer for path, layer in lab.layers.items() if isinstance(layer, _SCALING_LAYERS)
        }
        scales = [(_per_channel(np.mean, p), _per_channel(np.std, p)) for p in parts]
        if not bypassed and all(_is_normalised(*scale) for scale in scales):
            raise NotApplicable("the inputs already have mean 0 and standard deviation 1")

        def normalise_inputs(batches: Batches, seed: int) -> Batches:  # noqa: ARG001 - any seed
            return map_batch_part(
                batches, 0, lambda number, part: _standardise_part(part, *scales[number])
            )

        swaps = tuple(
            Swap(layer, "call", _pass_through, tracked=False) for layer in bypassed.values()
        )
        return Change(
            "normalising the inputs to mean 0 and standard deviation 1 per channel",
            tuple(bypassed),
            swaps,
            transform_batches=normalise_inputs,
            needs_retracing=bool(swaps),
        )


def _pass_through(inputs: Any, *_: Any, **__: Any) -> Any:
    return inputs


def _per_channel(function: Any, part: Any) -> Any:
    """Apply ``np.mean`` or ``np.std`` per channel, which is the last axis: (channels,)."""
    return function(part.astype(np.float64), axis=tuple(range(max(1, part.ndim - 1))))


def _is_normalised(mean: Any, deviation: Any) -> bool:
    """Whether varying channels have |mean| under half a deviation, and deviations of 0.3 to 3."""
    varies = deviation > 0
    centred = np.abs(mean) < 0.5 * deviation + 1e-9
    of_unit_size = (deviation > 0.3) & (deviation < 3)
    return bool(centred[varies].all() and of_unit_size[varies].all())


def _standardise_part(part: Any, mean: Any, deviation: Any) -> Any:
    safe = np.where(deviation > 0, deviation, 1.0)
    return ((part - mean) / safe).astype(part.dtype)


class FloatInputs(Intervention):
    """Casts integer inputs to float32, which the model then computes in."""

    name = "float-inputs"
    states = "integer arithmetic corrupts the inputs"
    answers: ClassVar[tuple[str, ...]] = ("SD506",)
    words: ClassVar[tuple[str, ...]] = ("integer", "uint8", "overflow", "bytes")

    def change(self, lab: Workbench) -> Change:
        parts = keras.tree.flatten(lab.batches[0][0])
        if not any(np.issubdtype(np.asarray(part).dtype, np.integer) for part in parts):
            raise NotApplicable("the inputs are not integers")
        if any(isinstance(layer, keras.layers.Embedding) for layer in lab.layers.values()):
            raise NotApplicable("an Embedding layer needs integer inputs")

        def cast_inputs(batches: Batches, seed: int) -> Batches:  # noqa: ARG001 - any seed
            return map_batch_part(batches, 0, lambda _, part: part.astype(np.float32))

        return Change(
            "casting the inputs to float32",
            swaps=_swap_declared_dtypes(lab),
            transform_batches=cast_inputs,
        )


def _swap_declared_dtypes(lab: Workbench) -> tuple[Swap, ...]:
    """Swaps that declare integer inputs as float32.

    A functional model casts its inputs to the dtype they were declared with.
    """
    tensors = [t for layer in lab.layers.values()
               for t in keras.tree.flatten(declared_inputs(layer))]  # fmt: skip
    return tuple(
        Swap(t, TENSOR_DTYPE, "float32", tracked=False)
        for t in {id(t): t for t in tensors}.values()
        if isinstance(t, keras.KerasTensor) and "int" in str(t.dtype)
    )


class FiniteData(Intervention):
    """Replaces NaN and infinite values by the mean of their column."""

    name = "finite-data"
    states = "non-finite values in the data corrupt every training step"
    answers: ClassVar[tuple[str, ...]] = ("SD603",)
    words: ClassVar[tuple[str, ...]] = ("nan", "missing", "infinite")

    def change(self, lab: Workbench) -> Change:
        parts = [p for batch in lab.batches for p in keras.tree.flatten(batch[:2]) if p is not None]
        if all(np.isfinite(p).all() for p in map(np.asarray, parts) if p.dtype.kind == "f"):
            raise NotApplicable("all values are finite")

        def fill_gaps(batches: Batches, seed: int) -> Batches:  # noqa: ARG001 - any seed
            for part_index in (0, 1):
                batches = map_batch_part(batches, part_index, lambda _, part: _fill_missing(part))
            return batches

        return Change(
            "replacing non-finite values by column means",
            transform_batches=fill_gaps,
            needs_retracing=False,
        )


def _fill_missing(part: Any) -> Any:
    """The array (items, …) with each gap filled by the mean of the finite values in its column.

    0 where a column has no finite value.
    """
    known = np.isfinite(part)
    if known.all():
        return part
    count = np.maximum(known.sum(axis=0), 1)
    return np.where(known, part, np.where(known, part, 0).sum(axis=0) / count).astype(part.dtype)


class MixedBatches(Intervention):
    """Shuffles the items across the batches."""

    name = "mixed"
    states = "batches that contain a single class prevent learning"
    answers: ClassVar[tuple[str, ...]] = ("SD609",)
    words: ClassVar[tuple[str, ...]] = ("shuffl", "sorted", "order of the data")

    def change(self, lab: Workbench) -> Change:
        if len(lab.batches) < 2:
            raise NotApplicable("all samples are in one batch")

        def shuffle_items(batches: Batches, seed: int) -> Batches:
            whole = join_batches(batches)
            order = np.random.default_rng(seed + 1).permutation(lab.items)
            mixed = keras.tree.map_structure(lambda part: part[order], whole)
            return split_like(batches, mixed)

        return Change(
            "shuffling the samples across batches",
            transform_batches=shuffle_items,
            needs_retracing=False,
        )
