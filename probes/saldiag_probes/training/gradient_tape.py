"""What gradient tapes are asked for: the target of a training loop's tape is its loss."""

from __future__ import annotations

import functools
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import tensorflow as tf

MAX_REMEMBERED_CALLS = 4
"""Calls that are remembered: a step with several networks asks a tape for each of them."""


class TapeSubscriber(Protocol):
    """Wants to be told more gradients of the program's losses than the program asks for."""

    def extra_tensors(self) -> Sequence[Any]:
        """Those to tell the gradient of at the next call; none but for a first step."""

    def receive_gradients(self, variables: frozenset[int], gradients: Sequence[Any]) -> None:
        """Their gradients, None where the target does not depend on one.

        ``variables`` are what the program asked for, by ``variable_id``.
        """


@dataclass(frozen=True)
class _GradientCall:
    """A call of ``tape.gradient``: the tensors of its target, and the variables by ``variable_id``."""

    target: Sequence[Any]
    variables: frozenset[int]


class _TapeHook:
    """Replaces ``GradientTape.gradient`` while anybody listens."""

    def __init__(self) -> None:
        self.users = 0
        self.recent: deque[_GradientCall] = deque(maxlen=MAX_REMEMBERED_CALLS)
        self.subscribers: list[TapeSubscriber] = []
        self._original: Any = None
        self._hook: Any = None

    def enter(self) -> None:
        self.users += 1
        if self.users == 1:
            self._original = tf.GradientTape.gradient
            self._hook = _wrap_gradient(self._original, self)
            tf.GradientTape.gradient = self._hook

    def leave(self) -> None:
        self.users -= 1
        if self.users:
            return
        self.recent.clear()
        if vars(tf.GradientTape).get("gradient") is self._hook:
            tf.GradientTape.gradient = self._original
        # Otherwise somebody hooked over this hook since: it stays as a passage.


_TAPE_HOOK = _TapeHook()


@contextmanager
def subscribed_to_tapes(subscriber: TapeSubscriber) -> Iterator[None]:
    """Remember what tapes are asked for as long as the block lasts, and tell more of it."""
    start_listening()
    _TAPE_HOOK.subscribers.append(subscriber)
    try:
        yield
    finally:
        _TAPE_HOOK.subscribers.remove(subscriber)
        stop_listening()


def start_listening() -> None:
    """Listen until ``stop_listening`` was called as often."""
    _TAPE_HOOK.enter()


def stop_listening() -> None:
    """Forget it all, and put the tape back, when the last one has left."""
    _TAPE_HOOK.leave()


def loss_from_tape(variables: Iterable[int]) -> Any:
    """The target of the last call that asked for gradients of ``variables``, as a scalar.

    They are given by ``variable_id``.

    A target of several numbers counts as their sum, as it does for the tape. None where there was
    no such call in the present graph (or eagerly).
    """
    wanted = set(variables)
    for call in reversed(_TAPE_HOOK.recent):
        if wanted & call.variables:
            known = all(in_current_graph(tensor) for tensor in call.target)
            return _scalar_sum(call.target) if known and call.target else None
    return None


def variable_id(variable: Any) -> int:
    """The same for a Keras variable and TensorFlow's behind it."""
    return id(tf_variable(variable))


def tf_variable(variable: Any) -> Any:
    """TensorFlow's variable behind a Keras one; any other is itself."""
    return getattr(variable, "_value", variable)


def _wrap_gradient(original: Any, hook: _TapeHook) -> Any:
    @functools.wraps(original)
    @tf.autograph.experimental.do_not_convert
    def gradient(
        tape: Any, target: Any, sources: Any, output_gradients: Any = None, *args: Any, **kw: Any
    ) -> Any:
        if output_gradients is not None:  # the target is only on the way to the loss
            return original(tape, target, sources, output_gradients, *args, **kw)
        tensors = tuple(t for t in tf.nest.flatten(target) if tf.is_tensor(t))
        names = frozenset(variable_id(source) for source in tf.nest.flatten(sources))
        hook.recent.append(_GradientCall(tensors, names))
        requests = [
            (subscriber, list(subscriber.extra_tensors())) for subscriber in hook.subscribers
        ]
        more = [wanted for _, wanted in requests]
        if not any(more):
            return original(tape, target, sources, None, *args, **kw)
        found, told = original(tape, target, [sources, more], None, *args, **kw)
        for (subscriber, wanted), gradients in zip(requests, told, strict=True):
            if wanted:
                subscriber.receive_gradients(names, gradients)
        return found

    return gradient


def in_current_graph(tensor: Any) -> bool:
    """Whether the present graph can compute with a tensor."""
    if not tf.is_symbolic_tensor(tensor):
        return bool(tf.executing_eagerly())
    if tf.executing_eagerly():
        return False
    return tensor.graph is tf.compat.v1.get_default_graph()


def _scalar_sum(tensors: Sequence[Any]) -> Any:
    parts = [tf.cast(t if t.shape.rank == 0 else tf.reduce_sum(t), tf.float64) for t in tensors]
    return parts[0] if len(parts) == 1 else tf.add_n(parts)
