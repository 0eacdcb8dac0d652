"""Reports what a training on several replicas does to a ``ReplicaWatch``."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import tensorflow as tf

from saldiag.core.keras_types import KerasModel
from saldiag_probes.distribution.replica_watch import Locate, ReplicaWatch
from saldiag_probes.hooks.engine import HOOKS, HookedCall, HookPoint, Subscription
from saldiag_probes.hooks.tape_call import TapeCall


@contextmanager
def watching_replicas(model: KerasModel, locate: Locate) -> Iterator[ReplicaWatch]:
    """Watch a model train inside the block, whatever trains it.

    Args:
        model: the model.
        locate: finds the user's line in a stack.
    """
    watch = ReplicaWatch(model, locate)
    subscription = subscribe_watch(watch)
    try:
        yield watch
    finally:
        subscription.cancel()


def subscribe_watch(watch: ReplicaWatch) -> Subscription:
    """Report the calls of a training to a watch until the subscription is cancelled."""
    events = _Events(watch)
    return HOOKS.subscribe({
        HookPoint.CALL: events.on_call,
        HookPoint.TAPE_GRADIENT: events.on_tape_gradient,
        HookPoint.ALL_REDUCE: events.on_all_reduce,
        HookPoint.APPLY: events.on_apply,
        HookPoint.REDUCE: events.on_reduce,
    })  # fmt: skip


class _Events(threading.local):
    """The hooked calls of each replica, as events of the watch."""

    def __init__(self, watch: ReplicaWatch) -> None:
        self._watch = watch
        # How many calls of ``apply`` this replica is in.
        self._depth = 0

    def on_call(self, call: HookedCall) -> Any:
        if call.owner is self._watch.model and call.args:
            _report(self._watch.on_model_call, call.args[0])
        return call.proceed()

    def on_tape_gradient(self, call: HookedCall) -> Any:
        result = call.proceed()
        tape = TapeCall.of(call)
        if tape.output_gradients is None:
            _report(self._watch.on_tape_gradient, tape.target, tape.gradients_of_program(result))
        return result

    def on_all_reduce(self, call: HookedCall) -> Any:
        result = call.proceed()
        names = ("reduce_op", "value")
        given = {**dict(zip(names, call.args, strict=False)), **call.kwargs}
        _report(
            self._watch.on_all_reduce, given["reduce_op"], given["value"], result,
            in_optimizer=self._depth > 0,
        )  # fmt: skip
        return result

    def on_apply(self, call: HookedCall) -> Any:
        names = ("grads", "trainable_variables")
        given = {**dict(zip(names, call.args, strict=False)), **call.kwargs}
        given = {name: list(value) for name, value in given.items() if value is not None}
        outermost = self._depth == 0
        if outermost:
            _report(
                self._watch.on_step_gradients, call.owner, given["grads"],
                given.get("trainable_variables") or (),
            )  # fmt: skip
        self._depth += 1
        try:
            result = call.proceed_with(**given)
        finally:
            self._depth -= 1
        if outermost:
            _report(self._watch.on_step_end)
        return result

    def on_reduce(self, call: HookedCall) -> Any:
        result = call.proceed()
        names = ("reduce_op", "value", "axis")
        given = {**dict(zip(names, call.args, strict=False)), **call.kwargs}
        _report(
            self._watch.on_reduce, given["reduce_op"], given["value"], given.get("axis"), result
        )
        return result


@tf.autograph.experimental.do_not_convert
def _report(event: Any, *args: Any, **kwargs: Any) -> None:
    """Tell the watch, whose code AutoGraph is not to convert."""
    event(*args, **kwargs)
