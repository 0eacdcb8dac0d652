"""Pausing Python's cyclic garbage collection where it only costs time.

While a large package is imported, or a report is drawn, hardly anything becomes garbage, but the
collector looks at all objects again and again: a quarter of the time of ``import tensorflow``.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def collection_paused(*, lasting: bool = False) -> Iterator[None]:
    """Pause the collector during the block, unless it is off already.

    Args:
        lasting: whether what the block creates lasts: the next collection then leaves it alone, as
            if it were old.
    """
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        if lasting and gc.get_freeze_count() == 0:
            # Moves all objects to the oldest generation, without looking at them.
            gc.freeze()
            gc.unfreeze()
        gc.enable()
