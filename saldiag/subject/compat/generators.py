"""``fit_generator`` and its kin, in today's ``fit``, ``evaluate`` and ``predict``."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from itertools import chain
from typing import Any

import numpy as np

_QUEUE = ("workers", "use_multiprocessing", "max_queue_size", "max_q_size", "nb_worker",
          "pickle_safe")  # fmt: skip
_FIT = ("generator", "steps_per_epoch", "epochs")
_STEPS = ("generator", "steps")


def fit_generator(model: Any, *args: Any, **kwargs: Any) -> Any:
    """``model.fit_generator(generator, steps_per_epoch, epochs, …)``."""
    given = _named(_FIT, args, kwargs)
    batches = given.pop("generator")
    if "nb_epoch" in given:
        given["epochs"] = given.pop("nb_epoch")
    if "samples_per_epoch" in given:
        batches, given["steps_per_epoch"] = _steps(batches, given.pop("samples_per_epoch"))
    if "nb_val_samples" in given:
        held_out, given["validation_steps"] = _steps(
            given.get("validation_data"), given.pop("nb_val_samples")
        )
        given["validation_data"] = held_out
    return model.fit(_fed(batches), **given)


def evaluate_generator(model: Any, *args: Any, **kwargs: Any) -> Any:
    """``model.evaluate_generator(generator, steps)``."""
    batches, given = _some(args, kwargs)
    return model.evaluate(batches, **{"verbose": 0, **given})


def predict_generator(model: Any, *args: Any, **kwargs: Any) -> Any:
    """``model.predict_generator(generator, steps)``."""
    batches, given = _some(args, kwargs)
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


def _named(names: tuple[str, ...], args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    """The arguments by name, without those of the queue, which is gone."""
    given = {**dict(zip(names, args, strict=False)), **kwargs}
    return {name: value for name, value in given.items() if name not in _QUEUE}


def _some(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    given = _named(_STEPS, args, kwargs)
    batches = given.pop("generator")
    if "val_samples" in given:
        batches, given["steps"] = _steps(batches, given.pop("val_samples"))
    return _fed(batches), given


def _steps(batches: Any, samples: int) -> tuple[Any, int]:
    """Keras 1 counted samples: batches, and how many of them hold so many samples.

    The first batch of a generator is looked at, and put back.
    """
    size = getattr(batches, "batch_size", None)
    if size is None and inspect.isgenerator(batches):
        first = next(batches)
        size = len(np.asarray(_first(first)))
        batches = _again(first, batches)
    return batches, max(1, -(-int(samples) // int(size or 1)))


def _first(batch: Any) -> Any:
    inputs = batch[0] if isinstance(batch, tuple) else batch
    return inputs[0] if isinstance(inputs, (list, tuple)) else inputs


def _again(first: Any, rest: Iterator[Any]) -> Iterator[Any]:
    yield from chain([first], rest)


def _fed(batches: Any) -> Any:
    """What today's Keras takes: a generator where it was any iterator; lists in it as tuples."""
    if inspect.isgenerator(batches) or not hasattr(batches, "__next__"):
        return batches
    if hasattr(batches, "__getitem__"):  # ImageDataGenerator's are sequences as well
        return batches
    return (batch for batch in batches)
