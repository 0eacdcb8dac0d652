"""Listens to a program and looks at every model that it trains."""

from __future__ import annotations

import inspect
import threading
import warnings
import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, NoReturn, TypeVar

import keras
import tensorflow as tf

from saldiag.app.program import options as program_options
from saldiag.app.program.assigned_variables import Learnt
from saldiag.app.program.custom_loops import Loops
from saldiag.app.program.error_origin import blaming, failing_model
from saldiag.app.program.first_step import FirstCalls
from saldiag.app.program.options import WatchOptions
from saldiag.app.program.stand_in import COMPUTED, stand_in, symbolic_inputs
from saldiag.app.program.watched_model import Following, Places, Watched
from saldiag.app.session.collector import Collector, one_line
from saldiag.app.subject.fit_arguments import read_feed
from saldiag.app.subject.subject import Subject
from saldiag.core.errors import SaldiagError
from saldiag.core.interrupts import caused_by_interrupt, reraise_interrupt
from saldiag.core.measurement import Source
from saldiag.subject.data.fit_batches import listed_callbacks
from saldiag.subject.program.script import ProgramStopped
from saldiag.subject.source.layer_sources import LayerSources

T = TypeVar("T")

PATIENCE = 20
"""Times that a program may catch being stopped, and go on."""

UNSTARTED = "the program ended before the model's first step"


class Observer:
    """A ``Listener`` of ``keras_hooks``; nothing that it does reaches the program.

    Args:
        options: what was asked for.
        lines: where the program makes its layers.
        open_session: makes a session for the next model.
    """

    def __init__(
        self, options: WatchOptions, lines: LayerSources, open_session: Callable[[str], Collector]
    ) -> None:
        self.options = options
        self.watched: list[Watched] = []
        self.unseen = 0
        self.stopped = ""
        self.give_up: Callable[[], NoReturn] | None = None
        self._stops = 0
        self.learnt = Learnt()
        self._lines = lines
        self._open = open_session
        self._deaf = threading.local()
        self._compiled: weakref.WeakKeyDictionary[Any, Source | None] = weakref.WeakKeyDictionary()
        self._current: weakref.WeakKeyDictionary[Any, Watched | None] = weakref.WeakKeyDictionary()
        self._loops = Loops(self)

    # What the hooks call

    @property
    def is_listening(self) -> bool:
        """Not while saldiag itself, or Keras under ``fit``, is at work in this thread."""
        return not getattr(self._deaf, "on", False)

    def on_compile(self, model: Any, call: Callable[[], Any]) -> Any:
        """Remember the line; a model that is compiled again is a new subject."""
        self._compiled[model] = self.caller()
        self._current.pop(model, None)
        with self.deaf(), blaming(model):
            return call()

    def on_fit(self, model: Any, original: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        """Look at the model and its data, then train with the probes on."""
        try:
            arguments = dict(inspect.signature(original).bind(model, *args, **kwargs).arguments)
        except TypeError:
            return original(model, *args, **kwargs)  # Keras says best what is wrong with it
        arguments.pop(next(iter(arguments)))
        given = arguments
        found = self.prepared(model, lambda: self._before_fit(model, given, self.caller()))
        watched, arguments = found or (None, given)
        if watched is None:
            with self.deaf(), blaming(model):
                return original(model, **arguments)
        self._end_if_hopeless(watched)
        following = Following(watched, self.options.steps, self.options.stop_early)
        watched.validation.others = listed_callbacks(arguments.get("callbacks"))
        arguments["callbacks"] = _joined(
            arguments.get("callbacks"), watched.watch, watched.validation, following
        )
        try:
            with self.deaf(), blaming(model):
                result = original(model, **arguments)
        except Exception as error:
            if not caused_by_interrupt(error):
                with self.at_work():
                    watched.refused()
            raise
        finally:
            self.learnt.note(model.trainable_variables if watched.steps else ())
            with self.at_work():
                watched.trained()
        if following.stopped:
            self.stop(following.stopped)
        return result

    def on_train_on_batch(
        self, model: Any, original: Callable[..., Any], args: Any, kwargs: Any
    ) -> Any:
        """The first call is looked at like ``fit``; the others are counted."""
        watched = self._current.get(model) or self.prepared(
            model, lambda: self._before_batch(model, original, args, kwargs)
        )
        if watched is None:
            with self.deaf(), blaming(model):
                return original(model, *args, **kwargs)
        self.step_due(watched, watched.steps)
        with self.deaf(), blaming(model):
            result = original(model, *args, **kwargs)
            watched.watch.on_train_batch_end(watched.steps)
        watched.steps += 1
        if watched.steps == 1:
            self.learnt.note(model.trainable_variables)
        return result

    def on_apply(self, optimizer: Any, original: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        """A step of a custom loop."""
        return self._loops.on_apply(optimizer, original, args, kwargs)

    def on_call(self, layer: Any, call: Callable[[], Any], inputs: Any) -> Any:
        """A custom loop calls its model."""
        return self._loops.on_call(layer, call, inputs)

    def on_assign(self, variable: Any) -> None:
        """Weights are loaded or copied."""
        self.learnt.note((variable,))

    def on_graph_call(self, function: Any, call: Callable[[], Any], args: Any, kwargs: Any) -> Any:
        """A ``tf.function`` of the program: perhaps its training step."""
        return self._loops.on_graph_call(function, call, args, kwargs)

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

    def prepared(self, owner: Any, prepare: Callable[[], T]) -> T | None:
        """What is done before the first step of ``owner``; if it breaks, that trains unseen."""
        try:
            with self.at_work():
                return prepare()
        except Exception as error:  # it must never break the user's training
            reraise_interrupt(error)
            self.unseen += 1
            self._current[owner] = None
            return None

    @property
    def first_calls(self) -> FirstCalls:
        """What is to be told of the tapes of custom loops."""
        return self._loops.first_calls

    def models(self) -> list[Any]:
        """The program's models that are alive."""
        return self._lines.live_models()

    def caller(self) -> Source | None:
        """The line of the program that this is called from."""
        return self._lines.caller_source()

    def current(self, model: Any) -> Watched | None:
        """The model's subject, as long as it is not compiled again."""
        return self._current.get(model)

    def begin(
        self, model: Any, trained: Source | None, compiled: Source | None = None
    ) -> Watched | None:
        """A new subject; None where there have been enough, or no session can be had.

        ``compiled`` is where the model is compiled that it is part of.
        """
        session = (
            self._session(str(model.name)) if len(self.watched) < program_options.MODELS else None
        )
        if session is None:
            self.unseen += 1
            self._current[model] = None
            return None
        places = Places(self._compiled.get(model) or compiled, trained)
        subject = Subject(model, self._lines.by_id(), name=str(model.name))
        watched = Watched(session, subject, places, self.options, self.learnt)
        self.watched.append(watched)
        self._current[model] = watched
        return watched

    def _session(self, name: str) -> Collector | None:
        try:
            return self._open(name)
        except SaldiagError:  # there is no room for another run: the program goes on
            return None

    def step_due(self, watched: Watched, taken: int) -> None:
        """Before a step of a loop of the program's own: end it if enough were taken."""
        if self.options.steps is not None and taken >= self.options.steps:
            self.stop(f"--steps {self.options.steps}")
        if self.options.stop_early and watched.due():
            self._end_if_hopeless(watched)

    def stop(self, reason: str) -> None:
        """End the program; one that catches whatever is raised is given up at last.

        Raises:
            ProgramStopped: always.
        """
        self.stopped = reason
        self._stops += 1
        if self._stops > PATIENCE and self.give_up is not None:
            self.stopped = f"{reason}; it went on {PATIENCE} times, so its process ends here"
            with self.deaf():
                self.give_up()
        raise ProgramStopped(0)

    def blamed(self, error: BaseException | None) -> Watched | None:
        """The subject in whose call or training an error arose, if any did.

        A model that fails before its first step is one, too.
        """
        model = failing_model(error)
        if model is None:
            return None
        found = self._current.get(model)
        if found is None and model not in self._current and self.watched:
            with self.at_work():
                found = self.begin(model, None)
            if found is not None:
                found.follow(stand_in(symbolic_inputs(model)), UNSTARTED)
        return found

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
        instead = self._look(watched, arguments)
        if not watched.followed:
            with suppress(Exception):  # it is told already that the model was not followed
                self._follow_parts(watched, trained)
        return watched, {**arguments, **instead}

    def _follow_parts(self, whole: Watched, trained: Source | None) -> None:
        """How a model is wired that cannot be called on its data: as it stands, or part by part.

        A GAN has no call, only a training step; what that step calls its parts on is not known.
        """
        model = whole.model
        if (inputs := symbolic_inputs(model)) is not None:
            whole.follow(stand_in(inputs), COMPUTED)
            return
        for part in (layer for layer in model.layers if isinstance(layer, keras.Model)):
            inputs = symbolic_inputs(part)
            if inputs is None or part in self._current:
                continue
            watched = self.begin(part, trained, self._compiled.get(model))
            if watched is not None:
                watched.follow(stand_in(inputs), COMPUTED)

    def _look(self, watched: Watched, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        """Look at model and data; what to hand to ``fit`` instead."""
        try:
            feed = read_feed(watched.model, arguments)
        except Exception as error:  # the program's own data
            watched.without_data(one_line(error))
            return {}
        if not feed.batches:
            watched.without_data("there is no batch in it")
            return feed.replacements
        watched.look(feed.batches, feed.plan)
        if self.options.overfit or self.options.experiments is not None:
            watched.memorise()
        return feed.replacements

    def _before_batch(
        self, model: Any, original: Callable[..., Any], args: Any, kwargs: Any
    ) -> Watched | None:
        if model in self._current:
            return None
        try:
            given = dict(inspect.signature(original).bind(model, *args, **kwargs).arguments)
        except TypeError:
            return None
        watched = self.begin(model, self.caller())
        if watched is None:
            return None
        size = {"batch_size": _size(given.get("x")), "shuffle": False}
        self._look(watched, {**given, **size})
        watched.watch.attach(model)
        return watched


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
