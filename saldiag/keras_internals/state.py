"""Global state of Keras and TensorFlow: name scopes, seeds and random generators."""

from __future__ import annotations

import collections
import random
from typing import Any

from keras.src.backend.common import global_state
from keras.src.random.seed_generator import GLOBAL_SEED_GENERATOR
from keras.src.utils import rng_utils
from tensorflow.python.eager import context
from tensorflow.python.eager.context import Context
from tensorflow.python.framework import config
from tensorflow.python.framework import random_seed as SEED_MODULE  # noqa: N812 - patched
from tensorflow.python.ops import stateful_random_ops

from saldiag.keras_internals.names import NAME_COUNTERS, NAME_SCOPES

__all__ = [
    "SEED_MODULE",
    "Context",
    "eager_random_state",
    "graph_optimizer_options",
    "keras_seed",
    "keras_seed_generator",
    "name_counters",
    "open_name_scopes",
    "operations_are_deterministic",
    "set_eager_random_state",
    "set_eager_seed",
    "set_keras_seed",
    "set_keras_seed_generator",
    "tensorflow_generator",
    "tensorflow_seed",
]


def open_name_scopes() -> list[Any]:
    """Keras' own list of the name scopes open in this thread, the outermost first; not public."""
    scopes: list[Any] = global_state.get_global_attribute(NAME_SCOPES) or []
    return scopes


def name_counters() -> dict[str, int]:
    """Keras' own counters of the names that it gives to objects (``dense_1``); not public."""
    counters: dict[str, int] = global_state.get_global_attribute(
        NAME_COUNTERS, collections.defaultdict(int), set_to_default=True
    )
    return counters


def keras_seed_generator() -> Any:
    """The generator that layers without a seed use, or None; there is no public getter."""
    return global_state.get_global_attribute(GLOBAL_SEED_GENERATOR)


def set_keras_seed_generator(generator: Any) -> None:
    """Replace that generator, or set it to None; the public API only creates a new one."""
    global_state.set_global_attribute(GLOBAL_SEED_GENERATOR, generator)


def tensorflow_generator() -> Any:
    """``tf.random``'s global generator, or None; the public getter creates one if missing."""
    return stateful_random_ops.global_generator


def eager_random_state() -> tuple[Any, Any, Any]:
    """The global seed, the generator of the seeds of eager operations, and its state; not public.

    The generator and its state are None before the first operation.
    """
    generator = getattr(context.context(), "_rng", None)
    return context.global_seed(), generator, None if generator is None else generator.getstate()


def set_eager_random_state(state: tuple[Any, Any, Any]) -> None:
    """Restore that state; random kernels keep theirs, which ``tf.random.set_seed`` would reset."""
    seed, generator, generator_state = state
    current = context.context()
    current._seed = seed
    if generator is not None:
        current._rng = generator
        generator.setstate(generator_state)


def set_eager_seed(self: Any, seed: Any) -> None:
    """``Context``'s method behind ``tf.random.set_seed``, without the reset of random kernels."""
    self._seed = seed
    self._rng = random.Random(int(seed) if hasattr(seed, "__int__") else seed)  # noqa: S311


def keras_seed() -> Any:
    """The seed that ``keras.utils.set_random_seed`` set, or None; there is no public getter."""
    return rng_utils.get_random_seed()


def set_keras_seed(seed: Any) -> None:
    """Restore that seed; the public function also sets those of Python, NumPy and TensorFlow."""
    global_state.set_global_attribute(rng_utils.GLOBAL_RANDOM_SEED, seed)


def tensorflow_seed() -> Any:
    """The seed that ``tf.random.set_seed`` set, or None; there is no public getter."""
    return context.global_seed()


def operations_are_deterministic() -> bool:
    """Whether ``enable_op_determinism`` was called; there is no public getter."""
    return bool(config.is_op_determinism_enabled())


def graph_optimizer_options() -> dict[str, Any]:
    """The options of Grappler that were set; the public getter also has defaults for the others."""
    options: dict[str, Any] = context.context()._optimizer_experimental_options
    return options
