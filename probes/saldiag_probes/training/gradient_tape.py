"""What gradient tapes are asked for: the target of a training loop's tape is its loss."""

from __future__ import annotations

import functools
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import tensorflow as tf

from saldiag.keras_internals.variables import raw_variable

KEPT = 4
"""Calls that are remembered: a step with several networks asks a tape for each of them."""


class Curious(Protocol):
    """Wants to be told more gradients of the program's losses than the program asks for."""

    def tensors(self) -> Sequence[Any]:
        """Those to tell the gradient of at the next call; none but for a first step."""

    def told(self, variables: frozenset[int], gradients: Sequence[Any]) -> None:
        """Their gradients, None where the target does not depend on one.

        ``variables`` are what the program asked for, by ``identity``.
        """


@dataclass(frozen=True)
class _Asked:
    """A call of ``tape.gradient``: the tensors of its target, and the variables by ``identity``."""

    target: Sequence[Any]
    variables: frozenset[int]


class _Ear:
    """Replaces ``GradientTape.gradient`` while anybody listens."""

    def __init__(self) -> None:
        self.users = 0
        self.recent: deque[_Asked] = deque(maxlen=KEPT)
        self.curious: list[Curious] = []
        self._original: Any = None
        self._hook: Any = None

    def enter(self) -> None:
        self.users += 1
        if self.users == 1:
            self._original = tf.GradientTape.gradient
            self._hook = _hooked(self._original, self)
            tf.GradientTape.gradient = self._hook

    def leave(self) -> None:
        self.users -= 1
        if self.users:
            return
        self.recent.clear()
        if vars(tf.GradientTape).get("gradient") is self._hook:
            tf.GradientTape.gradient = self._original
        # Otherwise somebody hooked over this hook since: it stays as a passage.


_EAR = _Ear()


@contextmanager
def listening_to_tapes(curious: Curious) -> Iterator[None]:
    """Remember what tapes are asked for as long as the block lasts, and tell more of it."""
    start_listening()
    _EAR.curious.append(curious)
    try:
        yield
    finally:
        _EAR.curious.remove(curious)
        stop_listening()


def start_listening() -> None:
    """Listen until ``stop_listening`` was called as often."""
    _EAR.enter()


def stop_listening() -> None:
    """Forget it all, and put the tape back, when the last one has left."""
    _EAR.leave()


def loss_of(variables: Iterable[int]) -> Any:
    """The target of the last call that asked for gradients of ``variables``, as a scalar.

    They are given by ``identity``.

    A target of several numbers counts as their sum, as it does for the tape. None where there was
    no such call in the present graph (or eagerly).
    """
    wanted = set(variables)
    for asked in reversed(_EAR.recent):
        if wanted & asked.variables:
            known = all(is_here(tensor) for tensor in asked.target)
            return _summed(asked.target) if known and asked.target else None
    return None


def identity(variable: Any) -> int:
    """The same for a Keras variable and TensorFlow's behind it."""
    return id(raw_variable(variable))


def _hooked(original: Any, ear: _Ear) -> Any:
    @functools.wraps(original)
    @tf.autograph.experimental.do_not_convert
    def gradient(
        tape: Any, target: Any, sources: Any, output_gradients: Any = None, *args: Any, **kw: Any
    ) -> Any:
        if output_gradients is not None:  # the target is only on the way to the loss
            return original(tape, target, sources, output_gradients, *args, **kw)
        tensors = tuple(t for t in tf.nest.flatten(target) if tf.is_tensor(t))
        names = frozenset(identity(source) for source in tf.nest.flatten(sources))
        ear.recent.append(_Asked(tensors, names))
        wishes = [(curious, list(curious.tensors())) for curious in ear.curious]
        more = [wanted for _, wanted in wishes]
        if not any(more):
            return original(tape, target, sources, None, *args, **kw)
        found, told = original(tape, target, [sources, more], None, *args, **kw)
        for (curious, wanted), gradients in zip(wishes, told, strict=True):
            if wanted:
                curious.told(names, gradients)
        return found

    return gradient


def is_here(tensor: Any) -> bool:
    """Whether the present graph can compute with a tensor."""
    if not tf.is_symbolic_tensor(tensor):
        return bool(tf.executing_eagerly())
    if tf.executing_eagerly():
        return False
    return tensor.graph is tf.compat.v1.get_default_graph()


def _summed(tensors: Sequence[Any]) -> Any:
    parts = [tf.cast(t if t.shape.rank == 0 else tf.reduce_sum(t), tf.float64) for t in tensors]
    return parts[0] if len(parts) == 1 else tf.add_n(parts)
