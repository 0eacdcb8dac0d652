"""Global state of Keras and TensorFlow: name scopes, seeds and random generators."""

from __future__ import annotations

from typing import Any

from keras.src.backend.common import global_state
from keras.src.random.seed_generator import GLOBAL_SEED_GENERATOR
from keras.src.utils import rng_utils
from tensorflow.python.eager import context
from tensorflow.python.framework import config
from tensorflow.python.ops import stateful_random_ops

from saldiag.keras_internals.names import NAME_SCOPES


def open_name_scopes() -> list[Any]:
    """Keras' own list of the name scopes open in this thread, the outermost first; not public."""
    scopes: list[Any] = global_state.get_global_attribute(NAME_SCOPES) or []
    return scopes


def keras_seed_generator() -> Any:
    """The generator that layers without a seed use, or None; there is no public getter."""
    return global_state.get_global_attribute(GLOBAL_SEED_GENERATOR)


def set_keras_seed_generator(generator: Any) -> None:
    """Replace that generator, or set it to None; the public API only creates a new one."""
    global_state.set_global_attribute(GLOBAL_SEED_GENERATOR, generator)


def tensorflow_generator() -> Any:
    """``tf.random``'s global generator, or None; the public getter creates one if missing."""
    return stateful_random_ops.global_generator


def eager_random_state() -> Any:
    """State of the generator of the seeds of eager operations, or None; not public."""
    generator = getattr(context.context(), "_rng", None)
    return None if generator is None else generator.getstate()


def set_eager_random_state(state: Any) -> None:
    """Restore that state; clears cached kernels, which hold their own random state."""
    context.context()._rng.setstate(state)
    context.context().clear_kernel_cache()


def keras_seed() -> Any:
    """The seed that ``keras.utils.set_random_seed`` set, or None; there is no public getter."""
    return rng_utils.get_random_seed()


def tensorflow_seed() -> Any:
    """The seed that ``tf.random.set_seed`` set, or None; there is no public getter."""
    return context.global_seed()


def operations_are_deterministic() -> bool:
    """Whether ``enable_op_determinism`` was called; there is no public getter."""
    return bool(config.is_op_determinism_enabled())
