"""Random generators and random kernels: what a block draws doesn't shift what comes after it."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow as tf

from saldiag.core.patching import SharedPatches
from saldiag.keras_internals.names import SEED_FUNCTION, SET_EAGER_SEED
from saldiag.keras_internals.state import (
    SEED_MODULE,
    Context,
    eager_random_state,
    keras_seed,
    keras_seed_generator,
    name_counters,
    set_eager_random_state,
    set_eager_seed,
    set_keras_seed,
    set_keras_seed_generator,
    tensorflow_generator,
)
from saldiag_probes.state.touched_resources import restart_copies

_OTHER_SEED = 0x5A1D1A6
"""Changes the global seed of eager operations inside a block (exclusive or, 31 bits)."""


@contextlib.contextmanager
def preserved_generators() -> Iterator[None]:
    """Restore, at the end of the block, the states of all generators that Keras code draws from.

    These are the global ones of ``random``, NumPy, TensorFlow and Keras, and the seeds that they
    were set to. Keras' counters of automatic names are restored too. Generators that are variables
    (``tf.random.Generator``, ``SeedGenerator``) are restored by ``preserved_resources``.

    An eager random operation keeps its state in a cached kernel, which is found by the operation's
    seeds. Inside the block eager operations get another global seed, derived from the program's,
    hence other kernels. The program's own, and those of its ``tf.function``s, are neither advanced
    nor reset, and ``tf.random.set_seed`` inside the block resets only the block's own copies of
    traced functions (see ``preserved_resources``). Traced functions
    keep the program's seed: one that is traced inside draws afterwards what it would have drawn.
    """
    generators = _Generators()
    try:
        with _patches.in_place():
            yield
    finally:
        generators.restore()


_program_seeds = getattr(SEED_MODULE, SEED_FUNCTION)
_set_program_seed = getattr(Context, SET_EAGER_SEED)


def _set_seed_inside(self: Any, seed: Any) -> None:
    """Set the seed; the traced functions that the block calls draw from their start again."""
    if not _patches.is_wanted:
        _set_program_seed(self, seed)
        return
    set_eager_seed(self, seed)
    restart_copies()


def _private_seeds(op_seed: Any) -> tuple[Any, Any]:
    """The seeds of a random operation inside a block."""
    first, second = _program_seeds(op_seed)
    wanted = _patches.is_wanted or _reading[0]
    if not wanted or not tf.executing_eagerly():
        return first, second
    _draws[0] += 1
    return (None if first is None else first ^ _OTHER_SEED), second


_patches = SharedPatches(
    (SEED_MODULE, SEED_FUNCTION, _private_seeds), (Context, SET_EAGER_SEED, _set_seed_inside)
)

_draws = [0]
_reading = [0]
"""Number of blocks of ``reading_data``."""


@contextlib.contextmanager
def reading_data() -> Iterator[None]:
    """In a block of ``preserved_generators``: threads that read data for it are part of it.

    ``tf.data`` calls Python code of a pipeline in threads of its own, which may draw numbers too.
    """
    _reading[0] += 1
    try:
        yield
    finally:
        _reading[0] -= 1


def eager_draws() -> int:
    """Number of eager random operations so far, of all blocks.

    Two passes that contain such an operation differ, because its kernel goes on.
    """
    return _draws[0]


class _Generators:
    """A snapshot of the global generators."""

    def __init__(self) -> None:
        self._python = random.getstate()
        self._numpy = np.random.get_state()  # noqa: NPY002 - users draw from the global state
        self._names = dict(name_counters())
        self._seed = keras_seed()
        self._keras = keras_seed_generator()
        self._keras_value = None if self._keras is None else self._keras.state.value.read_value()
        self._tensorflow = tensorflow_generator()
        self._tensorflow_value = (
            None if self._tensorflow is None else self._tensorflow.state.read_value()
        )
        self._eager = eager_random_state()
        if self._keras is None:
            _open_kept_generator()

    def restore(self) -> None:
        random.setstate(self._python)
        np.random.set_state(self._numpy)  # noqa: NPY002 - as above
        names = name_counters()
        names.clear()
        names.update(self._names)
        set_keras_seed(self._seed)
        current = keras_seed_generator()
        is_new = current is not None and current is not self._keras
        if is_new and not any(current is kept for kept in _kept_generators):
            _kept_generators.append(current)
        set_keras_seed_generator(self._keras)
        if self._keras is not None:
            self._keras.state.value.assign(self._keras_value)
        tf.random.set_global_generator(self._tensorflow)
        if self._tensorflow is not None:
            self._tensorflow.state.assign(self._tensorflow_value)
        set_eager_random_state(self._eager)


_kept_generators: list[Any] = []
"""Seed generators that Keras created inside a block. Functions traced there keep using them, but a
traced function does not keep its variables alive. The first one serves all later blocks."""


def _open_kept_generator() -> None:
    """Give Keras the kept generator, in the state in which it would create one now."""
    if not _kept_generators:
        return
    peeked = random.Random()  # noqa: S311 - as Keras
    peeked.setstate(random.getstate())
    _kept_generators[0].state.assign([peeked.randint(1, int(1e9)), 0])
    set_keras_seed_generator(_kept_generators[0])
