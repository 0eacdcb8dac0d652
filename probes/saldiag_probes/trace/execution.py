"""How the package runs a graph that it executes once."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

import tensorflow as tf


@contextmanager
def graph_as_built() -> Iterator[None]:
    """Without TensorFlow's graph optimizer: for one execution it costs far more than it saves.

    On MobileNetV2 with gradients and statistics the first execution takes 3 s of processor time
    in place of 10.
    """
    key = "disable_meta_optimizer"
    before = tf.config.optimizer.get_experimental_options().get(key, False)
    tf.config.optimizer.set_experimental_options({key: True})
    try:
        yield
    finally:
        tf.config.optimizer.set_experimental_options({key: before})


@contextmanager
def garbage_left() -> Iterator[None]:
    """Without looking for garbage meanwhile: a trace makes next to none.

    It makes so many objects that Python looks through all of TensorFlow for it, 0.3 to 0.4 s each
    time on MobileNetV2.
    """
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
