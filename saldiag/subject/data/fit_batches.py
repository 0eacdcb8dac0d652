"""The plan of a ``fit`` call, and the batches of its data as Keras makes them."""

from __future__ import annotations

import itertools
import types
from collections.abc import Iterator, Mapping
from typing import Any

from saldiag.core.training.fit_plan import KERAS_BATCH, FitPlan
from saldiag.keras_internals.data import (
    class_weights_as_sample_weights,
    fit_dataset,
    is_repeatable_pipeline,
    training_and_validation,
)

Batch = tuple[Any, ...]
PREVIEW_BATCHES = 4
"""How many batches to examine and, in the overfit test, to memorise."""


def plan_of_fit(arguments: Mapping[str, Any]) -> FitPlan:
    """The plan of a ``fit`` call; nothing is read but arrays in memory.

    Args:
        arguments: ``x``, ``y``, ``batch_size``, ``validation_data``, … as the program passes them.
    """
    training, held_out = _split_validation(arguments)
    x, y = training["x"], training["y"]
    return FitPlan(
        data=x if y is None else (x, y),
        is_drawn_once=not (_is_in_memory(x) or is_repeatable_pipeline(x)),
        validation=_validation_batch(arguments, held_out),
        validation_targets=_validation_targets(held_out),
        epochs=(arguments.get("epochs") or 1) - (arguments.get("initial_epoch") or 0),
        steps_per_epoch=arguments.get("steps_per_epoch"),
        batch_size=arguments.get("batch_size") or KERAS_BATCH,
        shuffle=arguments.get("shuffle", True),
        callbacks=listed_callbacks(arguments.get("callbacks")),
    )


def batches_in_memory(arguments: Mapping[str, Any], batches: int) -> tuple[Batch, ...]:
    """The first batches of arrays, in their order; empty for data that only ``fit`` may draw."""
    if not _is_in_memory(arguments.get("x")):
        return ()
    return tuple(itertools.islice(batches_of({**arguments, "shuffle": False}), batches))


def batch_of_call(arguments: Mapping[str, Any]) -> Batch:
    """The batch that ``train_on_batch`` is called with, as the model receives it."""
    x, y, weight = (arguments.get(name) for name in ("x", "y", "sample_weight"))
    if arguments.get("class_weight") is not None:
        weight = class_weights_as_sample_weights(y, arguments["class_weight"])
    return tuple(part for part in (x, y, weight) if part is not None)


def batches_of(arguments: Mapping[str, Any]) -> Iterator[Batch]:
    """The batches that ``fit`` trains on with these arguments, as numpy arrays or tensors."""
    x = arguments.get("x")
    training, _ = _split_validation(arguments)
    options = {
        "batch_size": arguments.get("batch_size"),
        "shuffle": _is_in_memory(x) and arguments.get("shuffle", True),
        "class_weight": arguments.get("class_weight"),
    }
    if x is not None and _is_pydataset(x):
        yield from (_with_class_weights(x[i], arguments) for i in range(len(x)))
        return
    for batch in fit_dataset(**training, **options):
        yield batch if isinstance(batch, tuple) else (batch,)


def _is_pydataset(x: Any) -> bool:
    import keras

    return isinstance(x, keras.utils.PyDataset)


def _is_in_memory(x: Any) -> bool:
    """Whether ``x`` is arrays, which Keras cuts into batches itself; they can be read again."""
    import tensorflow as tf

    streams = (types.GeneratorType, tf.data.Dataset, Iterator)
    return not (isinstance(x, streams) or _is_pydataset(x) or _is_torch_or_grain_loader(x))


def _is_torch_or_grain_loader(x: Any) -> bool:
    return type(x).__module__.partition(".")[0] in {"torch", "grain"}


def _with_class_weights(batch: Any, arguments: Mapping[str, Any]) -> Batch:
    """A batch of a ``PyDataset``, with the class weights as sample weights."""
    import keras

    x, y, weight = keras.utils.unpack_x_y_sample_weight(batch)
    weights = arguments.get("class_weight")
    if weights is not None and weight is None:
        weight = class_weights_as_sample_weights(y, weights)
    return tuple(part for part in (x, y, weight) if part is not None)


def _split_validation(arguments: Mapping[str, Any]) -> tuple[dict[str, Any], Any]:
    """Training arguments by name, and validation data, as ``validation_split`` divides them."""
    training = {name: arguments.get(name) for name in ("x", "y", "sample_weight")}
    share = arguments.get("validation_split") or 0.0
    if not share or arguments.get("validation_data") is not None:
        return training, arguments.get("validation_data")
    kept, held_out = training_and_validation(tuple(training.values()), share)
    return dict(zip(training, kept, strict=True)), held_out


def _validation_targets(data: Any) -> Any:
    """The targets of validation data if they are a tuple of arrays; else None."""
    has_targets = isinstance(data, (tuple, list)) and len(data) > 1
    return data[1] if has_targets and hasattr(data[1], "__array__") else None


def listed_callbacks(callbacks: Any) -> tuple[Any, ...]:
    """``fit``'s ``callbacks`` argument as a tuple: one, several, a ``CallbackList`` or none."""
    listed = getattr(callbacks, "callbacks", callbacks) or ()
    return tuple(listed) if isinstance(listed, (list, tuple)) else (listed,)


def _validation_batch(arguments: Mapping[str, Any], data: Any) -> tuple[Batch, ...] | None:
    """The first validation batch; empty if there is none, None if only ``fit`` may draw it."""
    if data is None:
        return ()
    names = ("x", "y", "sample_weight")
    parts = dict(zip(names, data, strict=False)) if isinstance(data, (tuple, list)) else {"x": data}
    if not (_is_in_memory(parts["x"]) or is_repeatable_pipeline(parts["x"])):
        return None
    sizes = {"batch_size": arguments.get("validation_batch_size") or arguments.get("batch_size")}
    return tuple(itertools.islice(batches_of({**parts, **sizes, "shuffle": False}), 1))
