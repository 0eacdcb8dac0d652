"""``fit_generator`` and its kin, in today's ``fit``, ``evaluate`` and ``predict``."""

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
    given = _arguments_by_name(_FIT_POSITIONS, args, kwargs)
    batches = given.pop("generator")
    if "nb_epoch" in given:
        given["epochs"] = given.pop("nb_epoch")
    if "samples_per_epoch" in given:
        batches, given["steps_per_epoch"] = _batches_and_steps(
            batches, given.pop("samples_per_epoch")
        )
    if "nb_val_samples" in given:
        held_out, given["validation_steps"] = _batches_and_steps(
            given.get("validation_data"), given.pop("nb_val_samples")
        )
        given["validation_data"] = held_out
    return model.fit(_accepted_batches(batches), **given)


def evaluate_generator(model: Any, *args: Any, **kwargs: Any) -> Any:
    """``model.evaluate_generator(generator, steps)``."""
    batches, given = _batches_and_arguments(args, kwargs)
    return model.evaluate(batches, **{"verbose": 0, **given})


def predict_generator(model: Any, *args: Any, **kwargs: Any) -> Any:
    """``model.predict_generator(generator, steps)``."""
    batches, given = _batches_and_arguments(args, kwargs)
    return model.predict(batches, **{"verbose": 0, **given})


def predict_classes(model: Any, *args: Any, **kwargs: Any) -> Any:
    """The class that is likeliest; of a single probability, whether it is above one half."""
    found = model.predict(*args, **kwargs)
    if found.shape[-1] > 1:
        return found.argmax(axis=-1)
    return (found > 0.5).astype("int32")


def predict_proba(model: Any, *args: Any, **kwargs: Any) -> Any:
    """What ``predict`` gives."""
    return model.predict(*args, **kwargs)


def _arguments_by_name(
    names: tuple[str, ...], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> dict[str, Any]:
    """The arguments by name, without those of the queue, which is gone."""
    given = {**dict(zip(names, args, strict=False)), **kwargs}
    return {name: value for name, value in given.items() if name not in _QUEUE_ARGUMENTS}


def _batches_and_arguments(
    args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[Any, dict[str, Any]]:
    given = _arguments_by_name(_EVALUATE_POSITIONS, args, kwargs)
    batches = given.pop("generator")
    if "val_samples" in given:
        batches, given["steps"] = _batches_and_steps(batches, given.pop("val_samples"))
    return _accepted_batches(batches), given


def _batches_and_steps(batches: Any, samples: int) -> tuple[Any, int]:
    """Keras 1 counted samples: batches, and how many of them hold so many samples.

    The first batch of a generator is looked at, and put back.
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
    """What today's Keras takes: a generator where it was any iterator; lists in it as tuples."""
    if inspect.isgenerator(batches) or not hasattr(batches, "__next__"):
        return batches
    if hasattr(batches, "__getitem__"):  # ImageDataGenerator's are sequences as well
        return batches
    return (batch for batch in batches)
