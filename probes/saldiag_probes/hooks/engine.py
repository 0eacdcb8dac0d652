"""The one place that patches the methods of Keras and TensorFlow that a training calls.

Each method is patched once, however many subscribers it has, and restored when the last of them
leaves. A subscriber is a function that receives a ``HookedCall`` and returns the call's result.
"""

from __future__ import annotations

import functools
import os
import threading
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from typing import Any

import keras
import tensorflow as tf

from saldiag.core.patching import Patch
from saldiag.keras_internals.distribution import is_replica_thread
from saldiag.keras_internals.graphs import GraphFunction


class HookPoint(Enum):
    """A method that can be hooked."""

    COMPILE = "compile"
    """``model.compile``."""
    FIT = "fit"
    """``model.fit``."""
    TRAIN_ON_BATCH = "train_on_batch"
    """``model.train_on_batch``."""
    CALL = "call"
    """``model(inputs)``, by the program or by another layer; layers that are no models excluded."""
    APPLY = "apply"
    """``optimizer.apply``, which ``apply_gradients`` and ``fit`` call."""
    COMPUTE_LOSS = "compute_loss"
    """``model.compute_loss``; only for one owner."""
    ASSIGN = "assign"
    """``variable.assign`` of a Keras variable, such as loaded weights."""
    GRAPH_CALL = "graph_call"
    """A call of a ``tf.function``."""
    TAPE_GRADIENT = "tape_gradient"
    """``tape.gradient``."""
    ALL_REDUCE = "all_reduce"
    """``all_reduce`` of a replica's context."""
    REDUCE = "reduce"
    """``strategy.reduce``."""


METHODS: Mapping[HookPoint, Sequence[tuple[type, str]]] = {
    HookPoint.COMPILE: [(keras.Model, "compile")],
    HookPoint.FIT: [(keras.Model, "fit")],
    HookPoint.TRAIN_ON_BATCH: [(keras.Model, "train_on_batch")],
    HookPoint.CALL: [(keras.Model, "__call__")],
    HookPoint.APPLY: [
        (keras.optimizers.Optimizer, "apply"),
        (keras.optimizers.LossScaleOptimizer, "apply"),
    ],
    HookPoint.COMPUTE_LOSS: [(keras.Model, "compute_loss")],
    HookPoint.ASSIGN: [(keras.Variable, "assign")],
    HookPoint.GRAPH_CALL: [(GraphFunction, "__call__")],
    HookPoint.TAPE_GRADIENT: [(tf.GradientTape, "gradient")],
    HookPoint.ALL_REDUCE: [(tf.distribute.ReplicaContext, "all_reduce")],
    HookPoint.REDUCE: [(tf.distribute.Strategy, "reduce")],
}
"""The classes whose method is hooked. For one owner it is the class that its method comes from."""


@dataclass(frozen=True)
class HookedCall:
    """One call of a hooked method."""

    owner: Any
    """The object whose method is called."""
    args: tuple[Any, ...]
    """Positional arguments, without the owner."""
    kwargs: dict[str, Any]
    """Keyword arguments."""
    proceed_with: Callable[..., Any]
    """Makes the call with other arguments: first through later subscribers, then the original."""

    def proceed(self) -> Any:
        """Make the call; returns its result."""
        return self.proceed_with(*self.args, **self.kwargs)


Handler = Callable[[HookedCall], Any]
"""A subscriber: makes the call with ``proceed`` and returns its result.

An exception in it reaches the program: whoever must not disturb one guards itself.
"""


@dataclass(eq=False)
class Subscription:
    """The handlers of one subscriber, until ``cancel``."""

    engine: HookEngine
    """The engine that calls the handlers."""
    handlers: Mapping[HookPoint, Handler]
    """The handler of each hook point."""
    owner: Any
    """The one object whose calls to handle; None for all."""
    number: int
    """Counts subscriptions: calls go through the oldest first."""

    def wants(self, owner: Any) -> bool:
        """Whether to handle the calls of an object."""
        return self.owner is None or self.owner is owner

    def cancel(self) -> None:
        """Receive no more calls; a second time does nothing."""
        self.engine.remove(self)

    @contextmanager
    def suspended(self) -> Iterator[None]:
        """Pass no new calls of this thread to this subscription and older ones in the block."""
        with self.engine.suspended(self.number):
            yield


class _HookedMethod:
    """A method of one class (or object) that is patched while it has subscriptions."""

    def __init__(self, engine: HookEngine, point: HookPoint, holder: Any, name: str) -> None:
        self.subscriptions: list[Subscription] = []
        self._engine, self._point = engine, point
        self._holder, self._name = holder, name
        self._patches: list[Patch] = []

    @property
    def is_unused(self) -> bool:
        """Whether nobody subscribes, and no hook lies below somebody else's patch."""
        return not self.subscriptions and not self._patches

    def add(self, subscription: Subscription) -> None:
        self.subscriptions = [*self.subscriptions, subscription]
        # If someone replaced the hook since, it may be called from below or not at all: another
        # one on top makes sure of it, and lets calls through the lower one pass.
        if not self._patches or not self._patches[-1].in_place:
            self._patches.append(Patch(self._holder, self._name, self._make_hook()))

    def remove(self, subscription: Subscription) -> None:
        self.subscriptions = [one for one in self.subscriptions if one is not subscription]
        while not self.subscriptions and self._patches and self._patches[-1].withdraw():
            self._patches.pop()

    def _make_hook(self) -> Any:
        # The hooks of ``apply`` and ``__call__`` are plain functions: AutoGraph converts them, and
        # with them what they call, or not, exactly as it would without the hook.
        own = vars(self._holder).get(self._name)
        is_instance = not isinstance(self._holder, type)

        def original(this: Any, *args: Any, **kwargs: Any) -> Any:
            if own is None:  # inherited, and looked up late: a probe may have replaced it
                return getattr(super(self._holder, this), self._name)(*args, **kwargs)
            return own(*args, **kwargs) if is_instance else own(this, *args, **kwargs)

        @functools.wraps(getattr(self._holder, self._name))
        def hook(this: Any, *args: Any, **kwargs: Any) -> Any:
            return self._engine.enter(self._point, self, original, this, args, kwargs)

        return types.MethodType(hook, self._holder) if is_instance else hook


class HookEngine:
    """Patches methods while they have subscribers, and passes them the calls."""

    def __init__(self) -> None:
        self._methods: dict[tuple[int, str], _HookedMethod] = {}
        self._count = 0
        self._local = threading.local()
        self._floors: dict[int, int] = {}
        self._lock = threading.RLock()

    @property
    def subscriptions(self) -> list[Subscription]:
        """All subscriptions, oldest first."""
        found = {id(s): s for method in self._methods.values() for s in method.subscriptions}
        return sorted(found.values(), key=lambda subscription: subscription.number)

    def subscribe(self, handlers: Mapping[HookPoint, Handler], owner: Any = None) -> Subscription:
        """Pass the calls of some methods to handlers until the subscription is cancelled.

        Args:
            handlers: by hook point.
            owner: the one model, optimizer, … whose calls the handlers receive; None for all.
        """
        with self._lock:
            self._count += 1
            subscription = Subscription(self, dict(handlers), owner, self._count)
            for point in handlers:
                for holder, name in _holders(point, owner):
                    key = id(holder), name
                    if key not in self._methods:
                        self._methods[key] = _HookedMethod(self, point, holder, name)
                    self._methods[key].add(subscription)
        return subscription

    @contextmanager
    def subscribed(
        self, handlers: Mapping[HookPoint, Handler], owner: Any = None
    ) -> Iterator[Subscription]:
        """``subscribe`` for the time of the block."""
        subscription = self.subscribe(handlers, owner)
        try:
            yield subscription
        finally:
            subscription.cancel()

    def remove(self, subscription: Subscription) -> None:
        """Cancel a subscription."""
        with self._lock:
            for key, method in list(self._methods.items()):
                if subscription in method.subscriptions:
                    method.remove(subscription)
                    if method.is_unused:
                        del self._methods[key]

    def cancel_all(self) -> None:
        """Cancel all subscriptions, and restore all methods."""
        for subscription in self.subscriptions:
            subscription.cancel()

    @contextmanager
    def suspended(self, number: int | None = None) -> Iterator[None]:
        """Pass no new calls of this thread to existing subscriptions inside the block.

        Subscriptions made inside the block work. A replica's thread counts as the one that waits
        for it.

        Args:
            number: of the last subscription that is suspended; None for all.
        """
        thread = threading.get_ident()
        before = self._floors.get(thread, 0)
        self._floors[thread] = max(before, self._count if number is None else number)
        try:
            yield
        finally:
            if before:
                self._floors[thread] = before
            else:
                del self._floors[thread]

    def enter(
        self,
        point: HookPoint,
        method: _HookedMethod,
        original: Callable[..., Any],
        owner: Any,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> Any:
        """Pass a call of a hooked method to its subscribers, oldest first.

        A call inside a call of the same method of the same object goes straight to the original:
        a subclass' ``apply`` may call that of its base class, which is hooked as well.
        """
        if not method.subscriptions:
            return original(owner, *args, **kwargs)
        running = self._running()
        key = point, id(owner)
        if key in running or self._next(point, method, owner, self._floor()) is None:
            return original(owner, *args, **kwargs)
        if point is HookPoint.APPLY:
            args, kwargs = _with_variable_list(args, kwargs)
        running.add(key)
        try:
            return self._call_after(self._floor(), point, method, original, owner, args, kwargs)
        finally:
            running.discard(key)

    def _call_after(
        self,
        number: int,
        point: HookPoint,
        method: _HookedMethod,
        original: Callable[..., Any],
        owner: Any,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> Any:
        """Call the first subscriber after ``number``, or the original after the last one.

        Subscribers are looked up one by one: a handler may add one that takes part in its call.
        """
        found = self._next(point, method, owner, number)
        if found is None:
            return original(owner, *args, **kwargs)

        def proceed_with(*args: Any, **kwargs: Any) -> Any:
            return self._call_after(found.number, point, method, original, owner, args, kwargs)

        return found.handlers[point](HookedCall(owner, args, kwargs, proceed_with))

    @tf.autograph.experimental.do_not_convert
    def _next(
        self, point: HookPoint, method: _HookedMethod, owner: Any, number: int
    ) -> Subscription | None:
        for one in method.subscriptions:
            if one.number > number and point in one.handlers and one.wants(owner):
                return one
        return None

    @tf.autograph.experimental.do_not_convert
    def _running(self) -> set[tuple[HookPoint, int]]:
        """The hooked calls that are running in this thread."""
        if not hasattr(self._local, "running"):
            self._local.running = set()
        running: set[tuple[HookPoint, int]] = self._local.running
        return running

    @tf.autograph.experimental.do_not_convert
    def _floor(self) -> int:
        """Number of the last subscription that is suspended in this thread; 0 if none is."""
        if not self._floors:
            return 0
        if is_replica_thread():
            return max(self._floors.values())
        return self._floors.get(threading.get_ident(), 0)


@tf.autograph.experimental.do_not_convert
def _with_variable_list(
    args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Arguments of ``optimizer.apply`` whose variables every subscriber can read.

    Keras accepts an iterator of variables, and makes a list of it; not of gradients.
    """

    def listed(value: Any) -> Any:
        return list(value) if isinstance(value, Iterator) else value

    variables = {name: listed(kwargs[name]) for name in kwargs if name == "trainable_variables"}
    return (*args[:1], *map(listed, args[1:])), {**kwargs, **variables}


def _holders(point: HookPoint, owner: Any) -> list[tuple[Any, str]]:
    """The classes on which to patch the method, or the one object that has its own."""
    if owner is not None and point in {HookPoint.APPLY, HookPoint.COMPUTE_LOSS}:
        name = METHODS[point][0][1]
        if name in vars(owner):
            return [(owner, name)]
        return [(next(c for c in type(owner).__mro__ if name in vars(c)), name)]
    # ``keras.Model`` inherits ``__call__`` from Layer: to leave other layers alone, Model gets a
    # method of its own. Any other method is replaced on the class that defines it.
    return list(
        dict.fromkeys(
            (cls if name == "__call__" else next(c for c in cls.__mro__ if name in vars(c)), name)
            for cls, name in METHODS[point]
        )
    )


HOOKS = HookEngine()
"""The engine of this process: what it patches exists once."""

if hasattr(os, "register_at_fork"):
    # A child of the program trains on its own: what it does is none of the parent's business.
    os.register_at_fork(after_in_child=HOOKS.cancel_all)
