"""Replicas of a distribution strategy."""

from __future__ import annotations

import threading
from typing import Any

import tensorflow as tf
from tensorflow.python.distribute.mirrored_run import _MirroredReplicaThread


def is_replica_thread() -> bool:
    """Whether a strategy runs one replica's step in this thread while another thread waits."""
    return isinstance(threading.current_thread(), _MirroredReplicaThread)


def replica_spec(spec: Any) -> Any:
    """The element spec of one replica, from that of a distributed iterator; nothing public has it.

    All replicas have the same.
    """
    return tf.nest.map_structure(
        lambda part: part._value_specs[0] if hasattr(part, "_value_specs") else part, spec
    )


def local_copies(variable: Any) -> tuple[Any, ...]:
    """The variable of each replica behind a distributed variable; any other variable itself."""
    return tuple(getattr(variable, "values", None) or (variable,))
