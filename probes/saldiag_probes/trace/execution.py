"""How a graph that runs once is built and executed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import tensorflow as tf

from saldiag.keras_internals.state import graph_optimizer_options


@contextmanager
def without_graph_optimizer() -> Iterator[None]:
    """Disable TensorFlow's graph optimizer (Grappler) inside the block.

    For a single execution it costs far more than it saves: on MobileNetV2 with gradients and
    statistics the first execution takes 10 s of processor time with it, and 3 s without.
    """
    key = "disable_meta_optimizer"
    # None if it was never set. TensorFlow takes a False for another configuration: it would
    # instantiate each traced function of the program again, with its random kernels at their start.
    before = graph_optimizer_options().get(key)
    tf.config.optimizer.set_experimental_options({key: True})
    try:
        yield
    finally:
        tf.config.optimizer.set_experimental_options({key: before})
