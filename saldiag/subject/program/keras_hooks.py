"""Stand between a program and Keras: every ``compile``, training call and optimizer step.

Keras' classes are changed while the block lasts and not a moment longer. A program that is not
being listened to at a moment (``listener.listening`` is false) goes straight through.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, Protocol

Method = Callable[..., Any]
Around = Callable[[Method], Method]


class Listener(Protocol):
    """Told of what a program does; each method carries the call out and returns its result."""

    @property
    def listening(self) -> bool:
        """Whether to be told at all: false while the listener itself uses Keras."""

    def compiled(self, model: Any, call: Callable[[], Any]) -> Any:
        """``model.compile``."""

    def fit(self, model: Any, original: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        """``model.fit(*args, **kwargs)``; ``original`` takes the model first."""

    def train_on_batch(
        self, model: Any, original: Callable[..., Any], args: Any, kwargs: Any
    ) -> Any:
        """``model.train_on_batch(*args, **kwargs)``; ``original`` takes the model first."""

    def apply(self, optimizer: Any, original: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        """``optimizer.apply(*args, **kwargs)``; ``original`` takes the optimizer first."""

    def called(self, layer: Any, call: Callable[[], Any], inputs: Any) -> Any:
        """A model is called on ``inputs``, by the program or by another layer."""

    def assigned(self, variable: Any) -> None:
        """A Keras variable is given a value: weights are loaded, or copied."""

    def graph_called(self, function: Any, call: Callable[[], Any], args: Any, kwargs: Any) -> Any:
        """A ``tf.function`` is called; ``function`` is it."""


@contextmanager
def hooked(listener: Listener) -> Iterator[None]:
    """Route the program's calls through ``listener`` until the block ends."""
    import keras

    from saldiag.keras_internals.graphs import GraphFunction

    with ExitStack() as stack:
        for cls, name, around in (
            (keras.Model, "compile", _compiled(listener)),
            (keras.Model, "fit", _handed_on(listener.fit)),
            (keras.Model, "train_on_batch", _handed_on(listener.train_on_batch)),
            (keras.Model, "__call__", _called(listener)),
            (keras.optimizers.Optimizer, "apply", _handed_on(listener.apply)),
            (keras.optimizers.LossScaleOptimizer, "apply", _handed_on(listener.apply)),
            (keras.Variable, "assign", _assigned(listener)),
            (GraphFunction, "__call__", _graph_called(listener)),
        ):
            stack.enter_context(_replaced(listener, cls, name, around))
        yield


def _compiled(listener: Listener) -> Around:
    def around(original: Method) -> Method:
        def compile_(model: Any, *args: Any, **kwargs: Any) -> Any:
            return listener.compiled(model, lambda: original(model, *args, **kwargs))

        return compile_

    return around


def _handed_on(tell: Callable[..., Any]) -> Around:
    def around(original: Method) -> Method:
        def handed(owner: Any, *args: Any, **kwargs: Any) -> Any:
            return tell(owner, original, args, kwargs)

        return handed

    return around


def _called(listener: Listener) -> Around:
    def around(original: Method) -> Method:
        def call(layer: Any, *args: Any, **kwargs: Any) -> Any:
            inputs = args[0] if args else None
            return listener.called(layer, lambda: original(layer, *args, **kwargs), inputs)

        return call

    return around


def _assigned(listener: Listener) -> Around:
    def around(original: Method) -> Method:
        def assign(variable: Any, value: Any) -> Any:
            listener.assigned(variable)
            return original(variable, value)

        return assign

    return around


def _graph_called(listener: Listener) -> Around:
    def around(original: Method) -> Method:
        def call(function: Any, *args: Any, **kwargs: Any) -> Any:
            step = functools.partial(original, function, *args, **kwargs)
            return listener.graph_called(function, step, args, kwargs)

        return call

    return around


@contextmanager
def _replaced(
    listener: Listener,
    cls: type,
    name: str,
    around: Around,
) -> Iterator[None]:
    """Put ``around(original)`` in the place of a method, on the class that defines it."""
    # A model is called through Layer's own method, which stays as it is for all other layers.
    owner = cls if name == "__call__" else next(c for c in cls.__mro__ if name in vars(c))
    own = vars(owner).get(name)
    inherited = getattr(owner, name)

    def original(this: Any, *args: Any, **kwargs: Any) -> Any:
        # What is inherited is looked up anew: a probe may stand in for it just now.
        method = own if own is not None else getattr(super(owner, this), name).__func__
        return method(this, *args, **kwargs)

    replacement = around(original if own is None else own)

    @functools.wraps(inherited)
    def method(this: Any, *args: Any, **kwargs: Any) -> Any:
        if not listener.listening:
            return original(this, *args, **kwargs)
        return replacement(this, *args, **kwargs)

    setattr(owner, name, method)
    try:
        yield
    finally:
        if own is not None:
            setattr(owner, name, own)
        else:
            delattr(owner, name)
