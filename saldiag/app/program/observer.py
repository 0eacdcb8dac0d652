"""Listens to a program and looks at every model that it trains."""

from __future__ import annotations

import inspect
import threading
import warnings
import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import tensorflow as tf

from saldiag.app.collector import one_line
from saldiag.app.load import Subject
from saldiag.app.program.first_step import FirstCalls
from saldiag.app.program.loops import Loops
from saldiag.app.program.options import MODELS, ProgramOptions
from saldiag.app.program.watched import Following, Places, Watched
from saldiag.app.session import Session
from saldiag.core.measurement import Source
from saldiag.subject.feeding import Feed, feed_of
from saldiag.subject.frames import caller
from saldiag.subject.script import ProgramStopped
from saldiag.subject.sources import SourceLines


class Observer:
    """A ``Listener`` (see ``saldiag.subject.hooks``); nothing that it does reaches the program.

    Args:
        options: what was asked for.
        lines: where the program makes its layers.
        open_session: makes a session for the next model.
    """

    def __init__(
        self, options: ProgramOptions, lines: SourceLines, open_session: Callable[[str], Session]
    ) -> None:
        self.options = options
        self.watched: list[Watched] = []
        self.unseen = 0
        self.stopped = ""
        self._lines = lines
        self._open = open_session
        self._deaf = threading.local()
        self._compiled: weakref.WeakKeyDictionary[Any, Source | None] = weakref.WeakKeyDictionary()
        self._current: weakref.WeakKeyDictionary[Any, Watched | None] = weakref.WeakKeyDictionary()
        self._loops = Loops(self)

    # What the hooks call

    @property
    def listening(self) -> bool:
        """Not while saldiag itself, or Keras under ``fit``, is at work in this thread."""
        return not getattr(self._deaf, "on", False)

    def compiled(self, model: Any, call: Callable[[], Any]) -> Any:
        """Remember the line; a model that is compiled again is a new subject."""
        self._compiled[model] = caller()
        self._current.pop(model, None)
        with self.deaf():
            return call()

    def fit(self, model: Any, original: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        """Look at the model and its data, then train with the probes on."""
        try:
            arguments = dict(inspect.signature(original).bind(model, *args, **kwargs).arguments)
        except TypeError:
            return original(model, *args, **kwargs)  # Keras says best what is wrong with it
        arguments.pop(next(iter(arguments)))
        with self.at_work():
            watched, arguments = self._before_fit(model, arguments, caller())
        if watched is None:
            with self.deaf():
                return original(model, **arguments)
        self._end_if_hopeless(watched)
        following = Following(watched, self.options.steps, self.options.stop_early)
        arguments["callbacks"] = _joined(arguments.get("callbacks"), watched.watch, following)
        try:
            with self.deaf():
                result = original(model, **arguments)
        finally:
            with self.at_work():
                watched.trained()
        if following.stopped:
            self.stop(following.stopped)
        return result

    def train_on_batch(
        self, model: Any, original: Callable[..., Any], args: Any, kwargs: Any
    ) -> Any:
        """The first call is looked at like ``fit``; the others are counted."""
        with self.at_work():
            watched = self._current.get(model) or self._before_batch(model, original, args, kwargs)
        if watched is None:
            with self.deaf():
                return original(model, *args, **kwargs)
        self.step_due(watched)
        with self.deaf():
            result = original(model, *args, **kwargs)
            watched.watch.on_train_batch_end(watched.steps)
        watched.steps += 1
        return result

    def apply(self, optimizer: Any, original: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        """A step of a custom loop."""
        return self._loops.apply(optimizer, original, args, kwargs)

    def called(self, layer: Any, call: Callable[[], Any], inputs: Any) -> Any:
        """A custom loop calls its model."""
        return self._loops.called(layer, call, inputs)

    def graph_called(self, call: Callable[[], Any], args: Any, kwargs: Any) -> Any:
        """A ``tf.function`` of the program: perhaps its training step."""
        return self._loops.graph_called(call, args, kwargs)

    # What the program does

    @contextmanager
    def deaf(self) -> Iterator[None]:
        """Let everything through that this thread does in the block."""
        before, self._deaf.on = getattr(self._deaf, "on", False), True
        try:
            yield
        finally:
            self._deaf.on = before

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """``deaf``, and what Keras warns of meanwhile is not shown: the program will cause it too.

        ``catch_warnings`` makes Python forget which warnings were given already.
        """
        with self.deaf(), warnings.catch_warnings(record=True):
            yield

    @property
    def first_calls(self) -> FirstCalls:
        """What is to be told of the tapes of custom loops."""
        return self._loops.first_calls

    def models(self) -> list[Any]:
        """The program's models that are alive."""
        return self._lines.models()

    def begin(self, model: Any, trained: Source | None) -> Watched | None:
        """A new subject; None where there have been enough, or no session can be had."""
        if len(self.watched) >= MODELS:
            self.unseen += 1
            self._current[model] = None
            return None
        places = Places(self._compiled.get(model), trained)
        subject = Subject(model, self._lines.by_id(), name=str(model.name))
        watched = Watched(self._open(subject.name or ""), subject, places, self.options)
        self.watched.append(watched)
        self._current[model] = watched
        return watched

    def step_due(self, watched: Watched) -> None:
        """Before a step of a loop of the program's own: end it if there were enough."""
        if self.options.steps is not None and watched.steps >= self.options.steps:
            self.stop(f"--steps {self.options.steps}")
        if self.options.stop_early and watched.due():
            self._end_if_hopeless(watched)

    def stop(self, reason: str) -> None:
        """End the program.

        Raises:
            ProgramStopped: always.
        """
        self.stopped = reason
        raise ProgramStopped(0)

    def _end_if_hopeless(self, watched: Watched) -> None:
        if self.options.stop_early:
            with self.deaf():
                reason = watched.hopeless()
            if reason:
                self.stop(reason)

    def _before_fit(
        self, model: Any, arguments: dict[str, Any], trained: Source | None
    ) -> tuple[Watched | None, dict[str, Any]]:
        if model in self._current:
            return self._current[model], arguments
        watched = self.begin(model, trained)
        if watched is None:
            return None, arguments
        return watched, {**arguments, **self._look(watched, arguments)}

    def _look(self, watched: Watched, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        """Look at model and data; what to hand to ``fit`` instead."""
        try:
            feed = _read(watched.model, arguments)
        except Exception as error:  # the program's own data
            watched.without_data(one_line(error))
            return {}
        if not feed.batches:
            watched.without_data("there is no batch in it")
            return feed.instead
        watched.look(feed.batches, feed.plan)
        if self.options.overfit:
            watched.memorise()
        return feed.instead

    def _before_batch(
        self, model: Any, original: Callable[..., Any], args: Any, kwargs: Any
    ) -> Watched | None:
        if model in self._current:
            return None
        try:
            given = dict(inspect.signature(original).bind(model, *args, **kwargs).arguments)
        except TypeError:
            return None
        watched = self.begin(model, caller())
        if watched is None:
            return None
        size = {"batch_size": _size(given.get("x")), "shuffle": False}
        self._look(watched, {**given, **size})
        watched.watch.attach(model)
        return watched


def _read(model: Any, arguments: Mapping[str, Any]) -> Feed:
    """The feed; reading draws random numbers, which are put back."""
    from saldiag_probes.undisturbed import undisturbed

    if not model.built:
        return feed_of(arguments)
    with undisturbed(model):
        return feed_of(arguments)


def _size(x: Any) -> int | None:
    shape = getattr(tf.nest.flatten(x)[0], "shape", None) if x is not None else None
    return int(shape[0]) if shape else None


def _joined(callbacks: Any, *ours: Any) -> Any:
    """The program's callbacks and ours behind them."""
    if hasattr(callbacks, "append") and not isinstance(callbacks, list):
        for callback in ours:  # a CallbackList
            callbacks.append(callback)
        return callbacks
    if callbacks is None:
        return list(ours)
    return [*(callbacks if isinstance(callbacks, (list, tuple)) else [callbacks]), *ours]
