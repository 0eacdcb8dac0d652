"""``fit_generator`` and the like, implemented with ``fit``, ``evaluate`` and ``predict``."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from itertools import chain
from typing import Any

import numpy as np

_QUEUE_ARGUMENTS = ("workers", "use_multiprocessing", "max_queue_size", "max_q_size", "nb_worker",
          "pickle_safe")  # fmt: skip
_FIT_POSITIONS = ("generator", "steps_per_epoch", "epochs")
_EVALUATE_POSITIONS = ("generator", "steps")


def fit_generator(model: Any, *args: Any, **kwargs: Any) -> Any:
    """``model.fit_generator(generator, steps_per_epoch, epochs, …)``."""
    arguments = _arguments_by_name(_FIT_POSITIONS, args, kwargs)
    batches = arguments.pop("generator")
    if "nb_epoch" in arguments:
        arguments["epochs"] = arguments.pop("nb_epoch")
    if "samples_per_epoch" in arguments:
        batches, arguments["steps_per_epoch"] = _batches_and_steps(
            batches, arguments.pop("samples_per_epoch")
        )
    if "nb_val_samples" in arguments:
        held_out, arguments["validation_steps"] = _batches_and_steps(
            arguments.get("validation_data"), arguments.pop("nb_val_samples")
        )
        arguments["validation_data"] = held_out
    return model.fit(_accepted_batches(batches), **arguments)


def evaluate_generator(model: Any, *args: Any, **kwargs: Any) -> Any:
    """``model.evaluate_generator(generator, steps)``."""
    batches, arguments = _batches_and_arguments(args, kwargs)
    return model.evaluate(batches, **{"verbose": 0, **arguments})


def predict_generator(model: Any, *args: Any, **kwargs: Any) -> Any:
    """``model.predict_generator(generator, steps)``."""
    batches, arguments = _batches_and_arguments(args, kwargs)
    return model.predict(batches, **{"verbose": 0, **arguments})


def predict_classes(model: Any, *args: Any, **kwargs: Any) -> Any:
    """The most probable class; for a single probability, whether it is above 0.5."""
    predictions = model.predict(*args, **kwargs)
    if predictions.shape[-1] > 1:
        return predictions.argmax(axis=-1)
    return (predictions > 0.5).astype("int32")


def predict_proba(model: Any, *args: Any, **kwargs: Any) -> Any:
    """``model.predict``, which it was an alias of."""
    return model.predict(*args, **kwargs)


def _arguments_by_name(
    names: tuple[str, ...], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> dict[str, Any]:
    """The arguments by name, without those of the worker queue, which no longer exists."""
    arguments = {**dict(zip(names, args, strict=False)), **kwargs}
    return {name: value for name, value in arguments.items() if name not in _QUEUE_ARGUMENTS}


def _batches_and_arguments(
    args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[Any, dict[str, Any]]:
    arguments = _arguments_by_name(_EVALUATE_POSITIONS, args, kwargs)
    batches = arguments.pop("generator")
    if "val_samples" in arguments:
        batches, arguments["steps"] = _batches_and_steps(batches, arguments.pop("val_samples"))
    return _accepted_batches(batches), arguments


def _batches_and_steps(batches: Any, samples: int) -> tuple[Any, int]:
    """The batches, and how many of them contain ``samples`` samples, which Keras 1 counted.

    The batch size of a generator is read from its first batch, which is put back.
    """
    size = getattr(batches, "batch_size", None)
    if size is None and inspect.isgenerator(batches):
        first = next(batches)
        size = len(np.asarray(_first_input(first)))
        batches = _put_back(first, batches)
    return batches, max(1, -(-int(samples) // int(size or 1)))


def _first_input(batch: Any) -> Any:
    inputs = batch[0] if isinstance(batch, tuple) else batch
    return inputs[0] if isinstance(inputs, (list, tuple)) else inputs


def _put_back(first: Any, rest: Iterator[Any]) -> Iterator[Any]:
    yield from chain([first], rest)


def _accepted_batches(batches: Any) -> Any:
    """``batches`` as Keras 3 accepts them: a plain iterator becomes a generator."""
    if inspect.isgenerator(batches) or not hasattr(batches, "__next__"):
        return batches
    if hasattr(batches, "__getitem__"):  # the iterators of ImageDataGenerator are sequences, too
        return batches
    return (batch for batch in batches)
