"""Which global seeds are set: by them, and by nothing else, a training can be told to repeat.

Commands set one before they build a model of their own; what is measured is then theirs.
"""

from __future__ import annotations

from keras.src.utils.rng_utils import get_random_seed  # no public name
from tensorflow.python.eager import context
from tensorflow.python.framework.config import is_op_determinism_enabled

from saldiag.core.measurement import Seeds


def measure_seeds() -> Seeds:
    """What is set at this moment, in this thread; no random state is read or moved."""
    return Seeds(
        keras=get_random_seed() is not None,
        tensorflow=context.global_seed() is not None,
        deterministic=bool(is_op_determinism_enabled()),
    )
