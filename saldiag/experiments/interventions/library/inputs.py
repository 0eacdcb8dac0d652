"""The same items, otherwise written."""

from __future__ import annotations

from typing import Any, ClassVar

import keras
import numpy as np

from saldiag.experiments.interventions.base import Intervention, NotApplicable
from saldiag.experiments.interventions.batch_transforms import joined, mapped, split_as
from saldiag.experiments.interventions.change import Batches, Change, Swap
from saldiag.experiments.interventions.workbench import Workbench
from saldiag.keras_internals.layers import declared_inputs
from saldiag.keras_internals.names import TENSOR_DTYPE

_SCALING = (keras.layers.Rescaling, keras.layers.Normalization)


class NormalisedInputs(Intervention):
    """Gives every channel mean 0 and deviation 1 (LeCun et al., Efficient BackProp, 1998, 4.3).

    The model's own rescaling is passed by, so that the numbers come to its first weights so.
    """

    name = "normalised-inputs"
    states = "the inputs' scale does not suit the model"
    answers: ClassVar[tuple[str, ...]] = ("SD601", "SD612", "SD613")
    words: ClassVar[tuple[str, ...]] = ("normali", "input scale", "scaled", "preprocess", "inputs")

    def change(self, lab: Workbench) -> Change:
        parts = [np.asarray(p) for p in keras.tree.flatten(joined(lab.batches)[0])]
        if not all(np.issubdtype(part.dtype, np.floating) for part in parts):
            raise NotApplicable("the inputs are whole numbers, which may be names of things")
        passed = {path: layer for path, layer in lab.layers.items() if isinstance(layer, _SCALING)}
        scales = [(_over_items(np.mean, p), _over_items(np.std, p)) for p in parts]
        if not passed and all(_normal(*scale) for scale in scales):
            raise NotApplicable("the inputs have mean 0 and deviation 1 already")

        def feed(batches: Batches, seed: int) -> Batches:  # noqa: ARG001 - the same for every seed
            return mapped(batches, 0, lambda number, part: _scaled(part, *scales[number]))

        swaps = tuple(Swap(layer, "call", _as_it_is, tracked=False) for layer in passed.values())
        return Change("normalising inputs (mean 0 and deviation 1 in every channel)",
                      tuple(passed), swaps, feed=feed, traced=bool(swaps))  # fmt: skip


def _as_it_is(inputs: Any, *_: Any, **__: Any) -> Any:
    return inputs


def _over_items(function: Any, part: Any) -> Any:
    """By channel, which is the last axis."""
    return function(part.astype(np.float64), axis=tuple(range(max(1, part.ndim - 1))))


def _normal(mean: Any, deviation: Any) -> bool:
    varies = deviation > 0
    return bool((np.abs(mean) < 0.5 * deviation + 1e-9)[varies].all()
                and ((deviation > 0.3) & (deviation < 3))[varies].all())  # fmt: skip


def _scaled(part: Any, mean: Any, deviation: Any) -> Any:
    safe = np.where(deviation > 0, deviation, 1.0)
    return ((part - mean) / safe).astype(part.dtype)


class FloatInputs(Intervention):
    """Gives the model real numbers where it gets whole ones, so that its arithmetic is real."""

    name = "float-inputs"
    states = "arithmetic in whole numbers ruins the inputs"
    answers: ClassVar[tuple[str, ...]] = ("SD506",)
    words: ClassVar[tuple[str, ...]] = ("integer", "uint8", "overflow", "bytes")

    def change(self, lab: Workbench) -> Change:
        whole = [np.issubdtype(np.asarray(part).dtype, np.integer)
                 for part in keras.tree.flatten(lab.batches[0][0])]  # fmt: skip
        if not any(whole) or any(
            isinstance(x, keras.layers.Embedding) for x in lab.layers.values()
        ):
            raise NotApplicable("the inputs are no whole numbers, or they are names of things")

        def feed(batches: Batches, seed: int) -> Batches:  # noqa: ARG001 - the same for every seed
            return mapped(batches, 0, lambda _, part: part.astype(np.float32))

        return Change("giving the inputs as float32", swaps=_declared_float(lab), feed=feed)


def _declared_float(lab: Workbench) -> tuple[Swap, ...]:
    """Functional models cast what they get to the type that their inputs were declared with."""
    tensors = [t for layer in lab.layers.values()
               for t in keras.tree.flatten(declared_inputs(layer))]  # fmt: skip
    return tuple(
        Swap(t, TENSOR_DTYPE, "float32", tracked=False)
        for t in {id(t): t for t in tensors}.values()
        if isinstance(t, keras.KerasTensor) and "int" in str(t.dtype)
    )


class FiniteData(Intervention):
    """Puts the column's mean where a number is missing or infinite."""

    name = "finite-data"
    states = "missing or infinite numbers in the data ruin every step"
    answers: ClassVar[tuple[str, ...]] = ("SD603",)
    words: ClassVar[tuple[str, ...]] = ("nan", "missing", "infinite")

    def change(self, lab: Workbench) -> Change:
        parts = [p for batch in lab.batches for p in keras.tree.flatten(batch[:2]) if p is not None]
        if all(np.isfinite(p).all() for p in map(np.asarray, parts) if p.dtype.kind == "f"):
            raise NotApplicable("all numbers are finite")

        def feed(batches: Batches, seed: int) -> Batches:  # noqa: ARG001 - the same for every seed
            for place in (0, 1):
                batches = mapped(batches, place, lambda _, part: _filled(part))
            return batches

        return Change("putting means in place of missing numbers", feed=feed, traced=False)


def _filled(part: Any) -> Any:
    """With each column's mean over the items that have a number there; 0 where none has."""
    known = np.isfinite(part)
    if known.all():
        return part
    count = np.maximum(known.sum(axis=0), 1)
    return np.where(known, part, np.where(known, part, 0).sum(axis=0) / count).astype(part.dtype)


class Mixed(Intervention):
    """Mixes the items over the batches anew."""

    name = "mixed"
    states = "batches that hold one class each hold learning up"
    answers: ClassVar[tuple[str, ...]] = ("SD609",)
    words: ClassVar[tuple[str, ...]] = ("shuffl", "sorted", "order of the data")

    def change(self, lab: Workbench) -> Change:
        if len(lab.batches) < 2:
            raise NotApplicable("all items are in one batch")

        def feed(batches: Batches, seed: int) -> Batches:
            whole = joined(batches)
            order = np.random.default_rng(seed + 1).permutation(lab.items)
            mixed = keras.tree.map_structure(lambda part: part[order], whole)
            return split_as(batches, mixed)

        return Change("mixing items over the batches", feed=feed, traced=False)
