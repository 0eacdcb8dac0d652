"""Reads the first batches of data that the user names; model and random state are restored."""

from __future__ import annotations

import itertools
from typing import Any

from saldiag.app.session.collector import error_line
from saldiag.core.errors import DataError
from saldiag.core.keras_types import KerasModel
from saldiag.core.training.fit_plan import FitPlan
from saldiag.subject.data.fit_batches import PREVIEW_BATCHES, Batch, batches_of
from saldiag_probes.state.isolation import preserved_random_state, preserved_state
from saldiag_probes.state.random_state import reading_data


def first_batches(
    model: KerasModel, data: Any, batch_size: int | None = None, batches: int = PREVIEW_BATCHES
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
    x, y = arguments.get("x"), arguments.get("y")
    try:
        # Reading may draw random numbers or call the model.
        with preserved_state(model) if model.built else preserved_random_state(), reading_data():
            found = tuple(itertools.islice(batches_of(given), batches))
    except Exception as error:
        raise DataError(f"the data cannot be read: {error_line(error)}") from error
    if not found:
        raise DataError("the data contains no batch")
    return found, FitPlan(data=x if y is None else (x, y), batch_size=batch_size)
