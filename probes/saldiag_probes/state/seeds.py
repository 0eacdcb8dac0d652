"""Which global seeds are set: only with them can a training run be repeated.

Commands that build the model themselves set a seed first; the measurement then shows that seed.
"""

from __future__ import annotations

from saldiag.core.measurement import Seeds
from saldiag.keras_internals.state import keras_seed, operations_are_deterministic, tensorflow_seed


def measure_seeds() -> Seeds:
    """The global seeds set in this thread at this moment. No random state is read or changed."""
    return Seeds(
        keras=keras_seed() is not None,
        tensorflow=tensorflow_seed() is not None,
        deterministic=operations_are_deterministic(),
    )
