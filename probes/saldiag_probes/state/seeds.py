"""Which global seeds are set: by them, and by nothing else, a training can be told to repeat.

Commands set one before they build a model of their own; what is measured is then theirs.
"""

from __future__ import annotations

from saldiag.core.measurement import Seeds
from saldiag.keras_internals.state import keras_seed, operations_are_deterministic, tensorflow_seed


def measure_seeds() -> Seeds:
    """What is set at this moment, in this thread; no random state is read or moved."""
    return Seeds(
        keras=keras_seed() is not None,
        tensorflow=tensorflow_seed() is not None,
        deterministic=operations_are_deterministic(),
    )
