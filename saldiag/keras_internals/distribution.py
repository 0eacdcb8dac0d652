"""Replicas of a distribution strategy."""

from __future__ import annotations

import threading

import tensorflow as tf
from tensorflow.python.distribute.mirrored_run import _MirroredReplicaThread


def is_replica_thread() -> bool:
    """Whether a strategy runs one replica's step in this thread while another thread waits."""
    return isinstance(threading.current_thread(), _MirroredReplicaThread)


def replica_number() -> int:
    """The number of the replica whose step runs here, from 0; 0 outside of replicas."""
    context = tf.distribute.get_replica_context()
    number = 0 if context is None else context.replica_id_in_sync_group
    return number if isinstance(number, int) else 0
