"""What ``fit`` is given, or would take, read without a trace."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from saldiag.app.session.collector import one_line
from saldiag.core.errors import DataError
from saldiag.core.training.fit_plan import FitPlan
from saldiag.subject.data.fit_batches import PREVIEW_BATCHES, Batch, FitPreview, preview_fit
from saldiag_probes.state.isolation import preserved_random_state, preserved_state


def read_feed(
    model: Any, arguments: Mapping[str, Any], batches: int = PREVIEW_BATCHES
) -> FitPreview:
    """The feed of ``model.fit(**arguments)``; reading draws random numbers, which are put back.

    Args:
        model: data may be computed with it, which may change it.
        arguments: of ``fit``, by name.
        batches: how many to read.

    Raises:
        Exception: whatever the program's data raises when it is read.
    """
    with preserved_state(model) if model.built else preserved_random_state():
        return preview_fit(arguments, batches)


def first_batches(
    model: Any, data: Any, batch_size: int | None = None, batches: int = PREVIEW_BATCHES
) -> tuple[tuple[Batch, ...], FitPlan]:
    """The first batches of what ``fit`` would take as ``data``, and what is known of the plan.

    Raises:
        DataError: the data cannot be read, or holds no batch.
    """
    parts = data if isinstance(data, tuple) else (data,)
    arguments = dict(zip(("x", "y", "sample_weight"), parts, strict=False))
    given = {**arguments, "batch_size": batch_size, "shuffle": False}
    try:
        feed = read_feed(model, given, batches)
    except Exception as error:
        raise DataError(f"the data cannot be read: {one_line(error)}") from error
    if not feed.batches:
        raise DataError("the data holds no batch")
    return feed.batches, FitPlan(data=feed.plan.data, batch_size=batch_size)
