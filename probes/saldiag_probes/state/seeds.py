"""Which global seeds are set: only with them can a training run be repeated.

Commands that build the model themselves set a seed first; the measurement then shows that seed.
"""

from __future__ import annotations

from keras.src.utils.rng_utils import get_random_seed  # there is no public name
from tensorflow.python.eager import context
from tensorflow.python.framework.config import is_op_determinism_enabled

from saldiag.core.measurement import Seeds


def measure_seeds() -> Seeds:
    """The global seeds set in this thread at this moment. No random state is read or changed."""
    return Seeds(
        keras=get_random_seed() is not None,
        tensorflow=context.global_seed() is not None,
        deterministic=bool(is_op_determinism_enabled()),
    )
