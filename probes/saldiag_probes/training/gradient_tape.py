"""Hook on ``tf.GradientTape.gradient``: the target of a training loop's tape is its loss."""

from __future__ import annotations

import functools
from collections import defaultdict, deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import tensorflow as tf

from saldiag.core.keras_types import Gradient, KerasVariable, Tensor, TFVariable
from saldiag.core.patching import Patch
from saldiag.keras_internals.variables import raw_variable
from saldiag_probes.training.replica_context import current_replica

MAX_REMEMBERED_CALLS = 4
"""Number of calls to remember: a step of several networks calls the tape once for each."""


class TapeSubscriber(Protocol):
    """Asks the patched tape for extra gradients, computed in the program's own backward pass."""

    def extra_tensors(self) -> Sequence[Tensor]:
        """Tensors whose gradient to compute in the next call; empty except at a first step."""

    def receive_gradients(self, variables: frozenset[int], gradients: Sequence[Gradient]) -> None:
        """Receive their gradients.

        Args:
            variables: the variables of the program's call, by ``variable_id``.
            gradients: one per extra tensor; None if the target does not depend on it.
        """


@dataclass(frozen=True)
class _GradientCall:
    """One call of ``tape.gradient``."""

    target: Sequence[Tensor]
    """The tensors of the target."""
    variables: frozenset[int]
    """The variables, by ``variable_id``."""


class _TapeHook:
    """Patches ``GradientTape.gradient`` while it has users (reference-counted)."""

    def __init__(self) -> None:
        self.users = 0
        self.recent: dict[int | None, deque[_GradientCall]] = defaultdict(
            lambda: deque(maxlen=MAX_REMEMBERED_CALLS)
        )  # by replica: their threads take turns
        self.subscribers: list[TapeSubscriber] = []
        self._patch: Patch | None = None

    def enter(self) -> None:
        self.users += 1
        if self.users == 1:
            hook = _wrap_gradient(tf.GradientTape.gradient, self)
            self._patch = Patch(tf.GradientTape, "gradient", hook)

    def leave(self) -> None:
        self.users -= 1
        if self.users:
            return
        self.recent.clear()
        if self._patch is not None:
            self._patch.withdraw()


_TAPE_HOOK = _TapeHook()
"""The one hook: ``GradientTape`` is patched on the class."""


@contextmanager
def subscribed_to_tapes(subscriber: TapeSubscriber) -> Iterator[None]:
    """Remember the calls of ``tape.gradient`` inside the block, and serve ``subscriber``."""
    start_listening()
    _TAPE_HOOK.subscribers.append(subscriber)
    try:
        yield
    finally:
        _TAPE_HOOK.subscribers.remove(subscriber)
        stop_listening()


def start_listening() -> None:
    """Remember the calls of ``tape.gradient`` until ``stop_listening`` was called as often."""
    _TAPE_HOOK.enter()


def stop_listening() -> None:
    """Forget the calls and restore the tape when the last user has left."""
    _TAPE_HOOK.leave()


def loss_from_tape(variables: Iterable[int]) -> Tensor | None:
    """The target of the last call for gradients of any of these variables, as a scalar.

    A target of several numbers counts as their sum, as it does for the tape. None if there was no
    such call in the current graph (or eagerly).

    Args:
        variables: the variables, by ``variable_id``.
    """
    requested = set(variables)
    for call in reversed(_TAPE_HOOK.recent[current_replica()]):
        if requested & call.variables:
            usable = all(in_current_graph(tensor) for tensor in call.target)
            return _scalar_sum(call.target) if usable and call.target else None
    return None


def variable_id(variable: KerasVariable | TFVariable) -> int:
    """An identity that a Keras variable and the ``tf.Variable`` behind it share."""
    return id(raw_variable(variable))


def _wrap_gradient(original: Any, hook: _TapeHook) -> Any:
    @functools.wraps(original)
    @tf.autograph.experimental.do_not_convert
    def gradient(
        tape: Any, target: Any, sources: Any, output_gradients: Any = None, *args: Any, **kw: Any
    ) -> Any:
        # With output gradients the call is one link of a longer chain: its target is not the loss.
        if output_gradients is not None:
            return original(tape, target, sources, output_gradients, *args, **kw)
        tensors = tuple(t for t in tf.nest.flatten(target) if tf.is_tensor(t))
        variables = frozenset(variable_id(source) for source in tf.nest.flatten(sources))
        hook.recent[current_replica()].append(_GradientCall(tensors, variables))
        requests = [
            (subscriber, list(subscriber.extra_tensors())) for subscriber in hook.subscribers
        ]
        more = [wanted for _, wanted in requests]
        if not any(more):
            return original(tape, target, sources, None, *args, **kw)
        # One backward pass for both: a tape that is not persistent allows only one call, and the
        # program's own gradients come out as in a call without the extra tensors.
        result, extra = original(tape, target, [sources, more], None, *args, **kw)
        for (subscriber, wanted), gradients in zip(requests, extra, strict=True):
            if wanted:
                subscriber.receive_gradients(variables, gradients)
        return result

    return gradient


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
