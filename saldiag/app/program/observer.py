"""Observes a program through hooks on Keras, and examines every model that it trains."""

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

from saldiag.app.loading.fit_arguments import read_feed
from saldiag.app.loading.subject import Subject
from saldiag.app.program import options as program_options
from saldiag.app.program.assigned_variables import AssignedVariables
from saldiag.app.program.custom_loops import CustomLoops
from saldiag.app.program.error_origin import errors_marked_with, failing_model
from saldiag.app.program.first_step import FirstCalls
from saldiag.app.program.fit_callbacks import TrainingMonitor, joined_callbacks
from saldiag.app.program.options import WatchOptions
from saldiag.app.program.stand_in import COMPUTED_INPUTS, symbolic_inputs, zero_batch
from saldiag.app.program.watched_model import ProgramLines, WatchedModel
from saldiag.app.session.collector import Collector, error_line
from saldiag.core.errors import SaldiagError
from saldiag.core.interrupts import caused_by_interrupt, reraise_interrupt
from saldiag.core.measurement import Source
from saldiag.subject.data.fit_batches import listed_callbacks
from saldiag.subject.program.script import ProgramStopped
from saldiag.subject.source.layer_sources import LayerSources

T = TypeVar("T")

MAX_CAUGHT_STOPS = 20
"""How often a program may catch ``ProgramStopped`` and continue before its process is ended."""

NO_FIRST_STEP = "the program ended before the model's first step"
"""Why the measurements of a model are missing that raised an error before its first step."""


class Observer:
    """A ``Listener`` of ``keras_hooks`` that examines and watches the program's models.

    The program must not notice: no error of a probe reaches it, and the states of model, optimizer
    and random generators are restored after each examination. While saldiag itself uses Keras, the
    hooks are disabled for its thread (``hooks_disabled``), or it would observe itself.

    Args:
        options: the options of the program's run.
        lines: source lines of the program's layers, and its models.
        open_session: makes the session of the next model, by the model's name.
    """

    def __init__(
        self, options: WatchOptions, lines: LayerSources, open_session: Callable[[str], Collector]
    ) -> None:
        self.options = options
        self.watched: list[WatchedModel] = []
        """The watched models, in the order of their first training."""
        self.unwatched = 0
        """How many other models were trained."""
        self.stopped = ""
        """Why the program was stopped; empty if it was not."""
        self.end_process: Callable[[], NoReturn] | None = None
        """Writes the reports and ends the process; None to let the program continue."""
        self._stops = 0
        self.assigned_variables = AssignedVariables()
        """Variables that were assigned or trained."""
        self._lines = lines
        self._open_session = open_session
        # ``on`` is true in a thread in which the hooks are disabled.
        self._hooks_off = threading.local()
        # By model: the line that compiled it last.
        self._compiled: weakref.WeakKeyDictionary[Any, Source | None] = weakref.WeakKeyDictionary()
        # By model: what watches it, None if it is not watched; absent before its first training
        # and after each ``compile``, which begins a new diagnosis.
        self._current: weakref.WeakKeyDictionary[Any, WatchedModel | None] = (
            weakref.WeakKeyDictionary()
        )
        self._loops = CustomLoops(self)

    # Methods of ``Listener``, which the hooks call.

    @property
    def is_listening(self) -> bool:
        """Whether the hooks are enabled in this thread: not while saldiag or ``fit`` runs."""
        return not getattr(self._hooks_off, "on", False)

    def on_compile(self, model: Any, call: Callable[[], Any]) -> Any:
        """Record the line of ``compile``; a model that is compiled again gets a new diagnosis."""
        self._compiled[model] = self.calling_line()
        self._current.pop(model, None)
        with self.hooks_disabled(), errors_marked_with(model):
            return call()

    def on_fit(self, model: Any, original: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        """Examine the model and its data, then train with the probes among the callbacks.

        Raises:
            ProgramStopped: the training is certain to fail, and the options say to stop early.
        """
        try:
            arguments = dict(inspect.signature(original).bind(model, *args, **kwargs).arguments)
        except TypeError:
            return original(model, *args, **kwargs)  # let Keras raise the error
        arguments.pop(next(iter(arguments)))  # ``self``
        given = arguments
        found = self.run_before_step(
            model, lambda: self._before_fit(model, given, self.calling_line())
        )
        watched, arguments = found or (None, given)
        if watched is None:
            with self.hooks_disabled(), errors_marked_with(model):
                return original(model, **arguments)
        self._end_if_failing(watched)
        following = TrainingMonitor(watched, self.options.steps, self.options.stop_early)
        watched.validation.others = listed_callbacks(arguments.get("callbacks"))
        arguments["callbacks"] = joined_callbacks(
            arguments.get("callbacks"), watched.watch, watched.validation, following
        )
        try:
            with self.hooks_disabled(), errors_marked_with(model):
                result = original(model, **arguments)
        except Exception as error:
            if not caused_by_interrupt(error):
                with self.working_quietly():
                    watched.end_failed_training()
            raise
        finally:
            self.assigned_variables.mark_assigned(
                model.trainable_variables if watched.steps else ()
            )
            with self.working_quietly():
                watched.end_training()
        if following.stopped:
            self.stop_program(following.stopped)
        return result

    def on_train_on_batch(
        self, model: Any, original: Callable[..., Any], args: Any, kwargs: Any
    ) -> Any:
        """Examine the model at the first call as in ``fit``; count the other calls.

        Raises:
            ProgramStopped: enough steps were taken.
        """
        watched = self._current.get(model) or self.run_before_step(
            model, lambda: self._before_batch(model, original, args, kwargs)
        )
        if watched is None:
            with self.hooks_disabled(), errors_marked_with(model):
                return original(model, *args, **kwargs)
        self.before_step(watched, watched.steps)
        with self.hooks_disabled(), errors_marked_with(model):
            result = original(model, *args, **kwargs)
            watched.watch.on_train_batch_end(watched.steps)
        watched.steps += 1
        if watched.steps == 1:
            self.assigned_variables.mark_assigned(model.trainable_variables)
        return result

    def on_apply(self, optimizer: Any, original: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        """Handle a step of a custom loop."""
        return self._loops.on_apply(optimizer, original, args, kwargs)

    def on_call(self, layer: Any, call: Callable[[], Any], inputs: Any) -> Any:
        """Handle a call of a model."""
        return self._loops.on_call(layer, call, inputs)

    def on_assign(self, variable: Any) -> None:
        """Record that weights are loaded or copied."""
        self.assigned_variables.mark_assigned((variable,))

    def on_graph_call(self, function: Any, call: Callable[[], Any], args: Any, kwargs: Any) -> Any:
        """Handle a call of a ``tf.function``, which may be a training step."""
        return self._loops.on_graph_call(function, call, args, kwargs)

    # Used by the methods above and by ``CustomLoops``.

    @contextmanager
    def hooks_disabled(self) -> Iterator[None]:
        """Disable the hooks for this thread inside the block."""
        before, self._hooks_off.on = getattr(self._hooks_off, "on", False), True
        try:
            yield
        finally:
            self._hooks_off.on = before

    @contextmanager
    def working_quietly(self) -> Iterator[None]:
        """``hooks_disabled``, and Keras' warnings are not shown: the program causes them again.

        ``catch_warnings`` also resets Python's record of warnings already shown, so that none of
        the program's are lost.
        """
        with self.hooks_disabled(), warnings.catch_warnings(record=True):
            yield

    def run_before_step(self, owner: Any, prepare: Callable[[], T]) -> T | None:
        """Run ``prepare`` before the first step of ``owner``, a model or an optimizer.

        If it raises an error, ``owner`` is trained without being watched, and None is returned.
        """
        try:
            with self.working_quietly():
                return prepare()
        except Exception as error:  # saldiag must never break the user's training
            reraise_interrupt(error)
            self.unwatched += 1
            self._current[owner] = None
            return None

    @property
    def first_calls(self) -> FirstCalls:
        """Subscriber of the gradient tapes of custom loops."""
        return self._loops.first_calls

    def living_models(self) -> list[Any]:
        """The program's models that are still referenced."""
        return self._lines.live_models()

    def calling_line(self) -> Source | None:
        """The line of the program that is running; None if there is none on the stack."""
        return self._lines.caller_source()

    def watched_model_of(self, model: Any) -> WatchedModel | None:
        """The watched model, until ``model`` is compiled again; None if it is not watched."""
        return self._current.get(model)

    def start_watching(
        self, model: Any, trained: Source | None, compiled: Source | None = None
    ) -> WatchedModel | None:
        """Watch a model; None if the limit is reached, or no run directory can be made.

        Args:
            model: the model.
            trained: the line that trains it; None if unknown.
            compiled: the line that compiles the model that it is part of; None if it is not part
                of one.
        """
        full = len(self.watched) >= program_options.MAX_MODELS
        session = None if full else self._new_session(str(model.name))
        if session is None:
            self.unwatched += 1
            self._current[model] = None
            return None
        places = ProgramLines(self._compiled.get(model) or compiled, trained)
        subject = Subject(model, self._lines.by_id(), name=str(model.name))
        watched = WatchedModel(session, subject, places, self.options, self.assigned_variables)
        self.watched.append(watched)
        self._current[model] = watched
        return watched

    def _new_session(self, name: str) -> Collector | None:
        """The session of the next model; None if its run directory cannot be made."""
        try:
            return self._open_session(name)
        except SaldiagError:  # the disk may be full; the program continues
            return None

    def before_step(self, watched: WatchedModel, taken: int) -> None:
        """End the program before a step of a custom loop if enough steps were taken.

        Args:
            watched: the model that the step trains.
            taken: how many steps were taken.

        Raises:
            ProgramStopped: enough steps were taken, or the training is certain to fail.
        """
        if self.options.steps is not None and taken >= self.options.steps:
            self.stop_program(f"--steps {self.options.steps}")
        if self.options.stop_early and watched.is_check_due():
            self._end_if_failing(watched)

    def stop_program(self, reason: str) -> None:
        """End the program; if it keeps catching the exception, end its process.

        Args:
            reason: printed with the outcome.

        Raises:
            ProgramStopped: always.
        """
        self.stopped = reason
        self._stops += 1
        if self._stops > MAX_CAUGHT_STOPS and self.end_process is not None:
            self.stopped = (
                f"{reason}; the program continued {MAX_CAUGHT_STOPS} times, its process is ended"
            )
            with self.hooks_disabled():
                self.end_process()
        raise ProgramStopped(0)

    def failing_watched_model(self, error: BaseException | None) -> WatchedModel | None:
        """The watched model in whose call or training an error arose; None if there is none.

        If the program has trained other models, a model that failed before its first step is
        watched from now on, and its layers are traced on zeros.
        """
        model = failing_model(error)
        if model is None:
            return None
        found = self._current.get(model)
        if found is None and model not in self._current and self.watched:
            with self.working_quietly():
                found = self.start_watching(model, None)
            if found is not None:
                found.trace_wiring(zero_batch(symbolic_inputs(model)), NO_FIRST_STEP)
        return found

    def _end_if_failing(self, watched: WatchedModel) -> None:
        """End the program if the options say to stop early, and the training is certain to fail."""
        if self.options.stop_early:
            with self.hooks_disabled():
                reason = watched.certain_failure()
            if reason:
                self.stop_program(reason)

    def _before_fit(
        self, model: Any, arguments: dict[str, Any], trained: Source | None
    ) -> tuple[WatchedModel | None, dict[str, Any]]:
        """Examine a model at its first ``fit``.

        Returns the watched model and the arguments of ``fit``, in which data that can be read only
        once are replaced by an iterator that starts with the batches read here.
        """
        if model in self._current:
            return self._current[model], arguments
        watched = self.start_watching(model, trained)
        if watched is None:
            return None, arguments
        replaced = self._examine_model(watched, arguments)
        if not watched.is_traced:
            with suppress(Exception):  # the reason why the model was not traced is recorded
                self._trace_parts(watched, trained)
        return watched, {**arguments, **replaced}

    def _trace_parts(self, whole: WatchedModel, trained: Source | None) -> None:
        """Trace the wiring of a model that cannot be called on its data, on zeros.

        A model without symbolic inputs is traced part by part: a GAN often has no ``call``, only a
        ``train_step``, and the inputs of its networks are unknown.
        """
        model = whole.model
        if (inputs := symbolic_inputs(model)) is not None:
            whole.trace_wiring(zero_batch(inputs), COMPUTED_INPUTS)
            return
        for part in (layer for layer in model.layers if isinstance(layer, keras.Model)):
            inputs = symbolic_inputs(part)
            if inputs is None or part in self._current:
                continue
            watched = self.start_watching(part, trained, self._compiled.get(model))
            if watched is not None:
                watched.trace_wiring(zero_batch(inputs), COMPUTED_INPUTS)

    def _examine_model(
        self, watched: WatchedModel, arguments: Mapping[str, Any]
    ) -> Mapping[str, Any]:
        """Examine a model on its data; returns the arguments of ``fit`` to replace."""
        try:
            feed = read_feed(watched.model, arguments)
        except Exception as error:  # any error of the program's own data
            watched.mark_data_unreadable(error_line(error))
            return {}
        if not feed.batches:
            watched.mark_data_unreadable("it contains no batch")
            return feed.replacements
        watched.examine_model(feed.batches, feed.plan)
        if self.options.overfit or self.options.experiments is not None:
            watched.run_overfit_test()
        return feed.replacements

    def _before_batch(
        self, model: Any, original: Callable[..., Any], args: Any, kwargs: Any
    ) -> WatchedModel | None:
        """Examine a model at its first ``train_on_batch``, on the batch of that call."""
        if model in self._current:
            return None
        try:
            given = dict(inspect.signature(original).bind(model, *args, **kwargs).arguments)
        except TypeError:
            return None
        watched = self.start_watching(model, self.calling_line())
        if watched is None:
            return None
        size = {"batch_size": _batch_size(given.get("x")), "shuffle": False}
        self._examine_model(watched, {**given, **size})
        watched.watch.attach(model)
        return watched


def _batch_size(x: Any) -> int | None:
    """Items in a batch of inputs; None if unknown."""
    shape = getattr(tf.nest.flatten(x)[0], "shape", None) if x is not None else None
    return int(shape[0]) if shape else None
