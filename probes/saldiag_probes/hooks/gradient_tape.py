"""The loss of a custom loop: the target of ``tf.GradientTape.gradient``."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterable, Sequence
from typing import Any

import tensorflow as tf

from saldiag.core.keras_types import Tensor
from saldiag_probes.hooks.engine import HOOKS, HookedCall, HookPoint, Subscription
from saldiag_probes.hooks.replica_context import current_replica
from saldiag_probes.hooks.tape_call import TapeCall

MAX_REMEMBERED_CALLS = 4
"""Number of calls to remember: a step of several networks calls the tape once for each."""


class TapeTargets:
    """Remembers the targets of the last calls of ``tape.gradient`` while somebody listens."""

    def __init__(self) -> None:
        self._listeners = 0
        self._subscription: Subscription | None = None
        # By replica: their threads take turns.
        self._recent: dict[int | None, deque[tuple[Sequence[Tensor], frozenset[int]]]] = (
            defaultdict(lambda: deque(maxlen=MAX_REMEMBERED_CALLS))
        )

    def start_listening(self) -> None:
        """Remember calls until ``stop_listening`` was called as often."""
        self._listeners += 1
        # The newest subscription is suspended least: while an observer looks away in the optimizer
        # of one replica, the tape of the next one computes.
        if self._subscription is not None:
            self._subscription.cancel()
        self._subscription = HOOKS.subscribe({HookPoint.TAPE_GRADIENT: self._on_tape_gradient})

    def stop_listening(self) -> None:
        """Forget all calls, and release their tensors, when the last listener has left."""
        self._listeners -= 1
        if not self._listeners and self._subscription is not None:
            self._subscription.cancel()
            self._subscription = None
            self._recent.clear()

    @tf.autograph.experimental.do_not_convert
    def _on_tape_gradient(self, call: HookedCall) -> Any:
        """Remember a call, unless it is one link of a longer chain."""
        found = TapeCall.of(call)
        if found.output_gradients is None:
            tensors = tuple(t for t in tf.nest.flatten(found.target) if tf.is_tensor(t))
            self._recent[current_replica()].append((tensors, found.variables))
        return call.proceed()

    def loss(self, variables: Iterable[int]) -> Tensor | None:
        """The target of the last call for gradients of any of these variables, as a scalar.

        A target of several numbers counts as their sum, as it does for the tape. None if there was
        no such call in the current graph (or eagerly).

        Args:
            variables: the variables, by ``variable_id``.
        """
        requested = set(variables)
        for target, known in reversed(self._recent[current_replica()]):
            if requested & known:
                usable = all(in_current_graph(tensor) for tensor in target)
                return _scalar_sum(target) if usable and target else None
        return None


TAPE_TARGETS = TapeTargets()
"""One record for all: a probe that is installed at a step needs the tape call just before it."""


def in_current_graph(tensor: Tensor) -> bool:
    """Whether the current graph (or eager code) can compute with a tensor."""
    if not tf.is_symbolic_tensor(tensor):
        return bool(tf.executing_eagerly())
    if tf.executing_eagerly():
        return False
    return tensor.graph is tf.compat.v1.get_default_graph()


def _scalar_sum(tensors: Sequence[Tensor]) -> Tensor:
    parts = [tf.cast(t if t.shape.rank == 0 else tf.reduce_sum(t), tf.float64) for t in tensors]
    return parts[0] if len(parts) == 1 else tf.add_n(parts)
