"""Hooks into Keras: every ``compile``, training call and optimizer step goes through a listener.

Methods of Keras' classes are replaced until the block ends. While ``listener.is_listening`` is
false, calls go directly to Keras.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, Protocol

from saldiag.core.keras_types import KerasLayer, KerasModel, KerasOptimizer
from saldiag.core.patching import patched

Method = Callable[..., Any]
Decorator = Callable[[Method], Method]


class Listener(Protocol):
    """Receives the program's calls and, with ``call`` or ``original``, makes them itself."""

    @property
    def is_listening(self) -> bool:
        """Whether to receive calls; false while the listener itself uses Keras."""

    def on_compile(self, model: KerasModel, call: Callable[[], Any]) -> Any:
        """``model.compile``; ``call`` makes the call."""

    def on_fit(
        self, model: KerasModel, original: Callable[..., Any], args: Any, kwargs: Any
    ) -> Any:
        """``model.fit(*args, **kwargs)``; ``original`` takes the model first."""

    def on_train_on_batch(
        self, model: KerasModel, original: Callable[..., Any], args: Any, kwargs: Any
    ) -> Any:
        """``model.train_on_batch(*args, **kwargs)``; ``original`` takes the model first."""

    def on_apply(
        self, optimizer: KerasOptimizer, original: Callable[..., Any], args: Any, kwargs: Any
    ) -> Any:
        """``optimizer.apply(*args, **kwargs)``; ``original`` takes the optimizer first."""

    def on_call(self, layer: KerasLayer, call: Callable[[], Any], inputs: Any) -> Any:
        """``model(inputs)``, by the program or by another layer; ``call`` makes the call."""

    def on_assign(self, variable: Any) -> None:
        """A Keras variable is about to be assigned a value, such as loaded weights."""

    def on_graph_call(self, function: Any, call: Callable[[], Any], args: Any, kwargs: Any) -> Any:
        """``function(*args, **kwargs)`` of a ``tf.function``; ``call`` makes the call."""


@contextmanager
def keras_hooked(listener: Listener) -> Iterator[None]:
    """Route calls of Keras' methods through ``listener`` until the block ends."""
    import keras

    from saldiag.keras_internals.graphs import GraphFunction

    with ExitStack() as stack:
        for cls, name, decorator in (
            (keras.Model, "compile", _hook_compile(listener)),
            (keras.Model, "fit", _hook_method(listener.on_fit)),
            (keras.Model, "train_on_batch", _hook_method(listener.on_train_on_batch)),
            (keras.Model, "__call__", _hook_call(listener)),
            (keras.optimizers.Optimizer, "apply", _hook_method(listener.on_apply)),
            (keras.optimizers.LossScaleOptimizer, "apply", _hook_method(listener.on_apply)),
            (keras.Variable, "assign", _hook_assign(listener)),
            (GraphFunction, "__call__", _hook_graph_call(listener)),
        ):
            stack.enter_context(_replaced(listener, cls, name, decorator))
        yield


def _hook_compile(listener: Listener) -> Decorator:
    def decorate_compile(original: Method) -> Method:
        def hooked_compile(model: KerasModel, *args: Any, **kwargs: Any) -> Any:
            return listener.on_compile(model, lambda: original(model, *args, **kwargs))

        return hooked_compile

    return decorate_compile


def _hook_method(receive: Callable[..., Any]) -> Decorator:
    def decorate_method(original: Method) -> Method:
        def hooked_method(owner: Any, *args: Any, **kwargs: Any) -> Any:
            return receive(owner, original, args, kwargs)

        return hooked_method

    return decorate_method


def _hook_call(listener: Listener) -> Decorator:
    def decorate_call(original: Method) -> Method:
        def hooked_call(layer: KerasLayer, *args: Any, **kwargs: Any) -> Any:
            inputs = args[0] if args else None
            return listener.on_call(layer, lambda: original(layer, *args, **kwargs), inputs)

        return hooked_call

    return decorate_call


def _hook_assign(listener: Listener) -> Decorator:
    def decorate_assign(original: Method) -> Method:
        def hooked_assign(variable: Any, value: Any) -> Any:
            listener.on_assign(variable)
            return original(variable, value)

        return hooked_assign

    return decorate_assign


def _hook_graph_call(listener: Listener) -> Decorator:
    def decorate_graph_call(original: Method) -> Method:
        def hooked_graph_call(function: Any, *args: Any, **kwargs: Any) -> Any:
            step = functools.partial(original, function, *args, **kwargs)
            return listener.on_graph_call(function, step, args, kwargs)

        return hooked_graph_call

    return decorate_graph_call


@contextmanager
def _replaced(
    listener: Listener,
    cls: type,
    name: str,
    decorator: Decorator,
) -> Iterator[None]:
    """Replace a method by ``decorator(original)`` until the block ends."""
    # ``keras.Model`` inherits ``__call__`` from Layer: to leave other layers alone, Model gets a
    # method of its own. Any other method is replaced on the class that defines it.
    owner = cls if name == "__call__" else next(c for c in cls.__mro__ if name in vars(c))
    own = vars(owner).get(name)
    inherited = getattr(owner, name)

    def original(this: Any, *args: Any, **kwargs: Any) -> Any:
        # An inherited method is looked up at each call, because a probe may have replaced it.
        method = own if own is not None else getattr(super(owner, this), name).__func__
        return method(this, *args, **kwargs)

    replacement = decorator(original if own is None else own)

    @functools.wraps(inherited)
    def method(this: Any, *args: Any, **kwargs: Any) -> Any:
        if not listener.is_listening:
            return original(this, *args, **kwargs)
        return replacement(this, *args, **kwargs)

    with patched(owner, name, method):
        yield
