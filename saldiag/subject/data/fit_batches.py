"""The first batches of what a program gives to ``fit``, and its plan; the program loses nothing."""

from __future__ import annotations

import itertools
import types
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from saldiag.core.training.fit_plan import KERAS_BATCH, FitPlan
from saldiag.keras_internals.data import (
    class_weights_as_sample_weights,
    fit_dataset,
    training_and_validation,
)

Batch = tuple[Any, ...]
BATCHES = 4
"""Batches to look at and, if asked, to memorise."""


@dataclass(frozen=True)
class Feed:
    """The first batches as the model gets them, the plan, and arguments to use instead.

    ``instead`` holds what has to be handed to ``fit`` in place of the program's own: a generator
    can be read but once, so one that was looked into is put together again.
    """

    batches: tuple[Batch, ...]
    plan: FitPlan
    instead: Mapping[str, Any]


def feed_of(arguments: Mapping[str, Any], batches: int = BATCHES) -> Feed:
    """Look at the arguments of ``fit`` (by name).

    Args:
        arguments: ``x``, ``y``, ``batch_size``, ``validation_data``, … as the program gives them.
        batches: how many to take.

    Raises:
        Exception: whatever the program's data raises when it is read.
    """
    x, instead = arguments.get("x"), {}
    if isinstance(x, types.GeneratorType):
        first = list(itertools.islice(x, batches))
        instead["x"] = _again(first, x)
        arguments = {**arguments, "x": _again(first, ())}
    taken = tuple(itertools.islice(batches_of(arguments), batches))
    return Feed(taken, _plan(arguments), instead)


def _again(first: Sequence[Any], rest: Any) -> Iterator[Any]:
    """A generator, as Keras asks for one by its type."""
    yield from first
    yield from rest


def batches_of(arguments: Mapping[str, Any]) -> Iterator[Batch]:
    """The batches that ``fit`` makes of its arguments, as numpy arrays or tensors."""
    x = arguments.get("x")
    training, _ = _split(arguments)
    given = {
        "batch_size": arguments.get("batch_size"),
        "shuffle": _is_in_memory(x) and arguments.get("shuffle", True),
        "class_weight": arguments.get("class_weight"),
    }
    if x is not None and _is_sequence(x):
        yield from (_weighted(x[i], arguments) for i in range(len(x)))
        return
    for batch in fit_dataset(**training, **given):
        yield batch if isinstance(batch, tuple) else (batch,)


def _is_sequence(x: Any) -> bool:
    import keras

    return isinstance(x, keras.utils.PyDataset)


def _is_in_memory(x: Any) -> bool:
    """Whether Keras cuts the batches itself, and hence can shuffle."""
    import tensorflow as tf

    return not isinstance(x, (types.GeneratorType, tf.data.Dataset)) and not _is_loader(x)


def _is_loader(x: Any) -> bool:
    return type(x).__module__.partition(".")[0] in {"torch", "grain"}


def _weighted(batch: Any, arguments: Mapping[str, Any]) -> Batch:
    """A batch of a PyDataset, with class weights as sample weights."""
    import keras

    x, y, weight = keras.utils.unpack_x_y_sample_weight(batch)
    weights = arguments.get("class_weight")
    if weights is not None and weight is None:
        weight = class_weights_as_sample_weights(y, weights)
    return tuple(part for part in (x, y, weight) if part is not None)


def _split(arguments: Mapping[str, Any]) -> tuple[dict[str, Any], Any]:
    """Training arrays, and validation data, as ``validation_split`` divides them."""
    training = {name: arguments.get(name) for name in ("x", "y", "sample_weight")}
    share = arguments.get("validation_split") or 0.0
    if not share or arguments.get("validation_data") is not None:
        return training, arguments.get("validation_data")
    kept, held = training_and_validation(tuple(training.values()), share)
    return dict(zip(training, kept, strict=True)), held


def _plan(arguments: Mapping[str, Any]) -> FitPlan:
    training, held = _split(arguments)
    x, y = training["x"], training["y"]
    return FitPlan(
        data=x if y is None else (x, y),
        validation=_validation(arguments, held),
        validation_targets=_targets(held),
        epochs=(arguments.get("epochs") or 1) - (arguments.get("initial_epoch") or 0),
        steps_per_epoch=arguments.get("steps_per_epoch"),
        batch_size=arguments.get("batch_size") or KERAS_BATCH,
        shuffle=arguments.get("shuffle", True),
        callbacks=listed_callbacks(arguments.get("callbacks")),
    )


def _targets(data: Any) -> Any:
    """The targets of validation data that is a tuple of arrays."""
    whole = isinstance(data, (tuple, list)) and len(data) > 1
    return data[1] if whole and hasattr(data[1], "__array__") else None


def listed_callbacks(callbacks: Any) -> tuple[Any, ...]:
    """The callbacks that ``fit`` is given: one, several, a ``CallbackList`` or none."""
    listed = getattr(callbacks, "callbacks", callbacks) or ()
    return tuple(listed) if isinstance(listed, (list, tuple)) else (listed,)


def _validation(arguments: Mapping[str, Any], data: Any) -> tuple[Batch, ...]:
    """The first validation batch; none where there is none, or it can be read but once."""
    if data is None or isinstance(data, types.GeneratorType):
        return ()
    names = ("x", "y", "sample_weight")
    parts = dict(zip(names, data, strict=False)) if isinstance(data, (tuple, list)) else {"x": data}
    own = {"batch_size": arguments.get("validation_batch_size") or arguments.get("batch_size")}
    return tuple(itertools.islice(batches_of({**parts, **own, "shuffle": False}), 1))
