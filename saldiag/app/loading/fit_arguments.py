"""Reads the first batches of ``fit``'s arguments; model and random state are restored."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from saldiag.app.session.collector import error_line
from saldiag.core.errors import DataError
from saldiag.core.training.fit_plan import FitPlan
from saldiag.subject.data.fit_batches import PREVIEW_BATCHES, Batch, FitPreview, preview_fit
from saldiag_probes.state.isolation import preserved_random_state, preserved_state


def read_feed(
    model: Any, arguments: Mapping[str, Any], batches: int = PREVIEW_BATCHES
) -> FitPreview:
    """The first batches of ``model.fit(**arguments)``, and what replaces its arguments.

    Reading may draw random numbers or call the model, so that both are restored.

    Args:
        model: the model that is trained.
        arguments: arguments of ``fit``, by name.
        batches: number of batches to read.

    Raises:
        Exception: any error that the program's data raises.
    """
    with preserved_state(model) if model.built else preserved_random_state():
        return preview_fit(arguments, batches)


def first_batches(
    model: Any, data: Any, batch_size: int | None = None, batches: int = PREVIEW_BATCHES
) -> tuple[tuple[Batch, ...], FitPlan]:
    """The first batches of ``data``, and the plan of a ``fit`` on it.

    Args:
        model: the model that would be trained.
        data: ``(x, y)`` or ``(x, y, sample_weight)``, or anything else that ``fit`` accepts.
        batch_size: items in a batch that arrays are split_indices into; None for Keras' default.
        batches: number of batches to read.

    Raises:
        DataError: the data cannot be read, or contains no batch.
    """
    parts = data if isinstance(data, tuple) else (data,)
    arguments = dict(zip(("x", "y", "sample_weight"), parts, strict=False))
    given = {**arguments, "batch_size": batch_size, "shuffle": False}
    try:
        feed = read_feed(model, given, batches)
    except Exception as error:
        raise DataError(f"the data cannot be read: {error_line(error)}") from error
    if not feed.batches:
        raise DataError("the data contains no batch")
    return feed.batches, FitPlan(data=feed.plan.data, batch_size=batch_size)
