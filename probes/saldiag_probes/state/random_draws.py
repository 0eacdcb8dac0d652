"""Random numbers that other threads of the program draw."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Any

import numpy as np

QUIET_SECONDS = 0.03
"""How long no number must be drawn; a generator that fills a buffer draws every few ms."""
MAX_WAIT_SECONDS = 1.0
"""How long to wait at most: other threads may draw all the time."""


def wait_for_draws(
    clock: Callable[[], float] = time.monotonic, sleep: Callable[[float], None] = time.sleep
) -> bool:
    """Wait until nothing draws from the generators of ``random`` and NumPy.

    ``tf.data`` runs Python generators ahead of the training until its buffers are full.

    Args:
        clock: returns the time in seconds.
        sleep: waits for a number of seconds.

    Returns:
        Whether it became quiet in time.
    """
    begun = since = clock()
    state = _state()
    while clock() - begun < MAX_WAIT_SECONDS:
        sleep(QUIET_SECONDS / 6)
        now = _state()
        if now != state:
            state, since = now, clock()
        elif clock() - since >= QUIET_SECONDS:
            return True
    return False


def _state() -> tuple[Any, ...]:
    state: Any = np.random.get_state()  # noqa: NPY002 - users draw from the global state
    kind, keys, *rest = state
    return random.getstate(), kind, keys.tobytes(), *rest
