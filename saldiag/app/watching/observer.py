"""Observes a program through the hooks, and examines every model that it trains."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any, NoReturn

import keras

from saldiag.app.loading.subject import Subject
from saldiag.app.session.collector import Collector
from saldiag.app.watching import options as watch_options
from saldiag.app.watching.assigned_variables import AssignedVariables
from saldiag.app.watching.custom_loops import CustomLoops
from saldiag.app.watching.fit_watcher import FitWatcher, joined_callbacks
from saldiag.app.watching.guard import guarded, working_quietly
from saldiag.app.watching.model_record import ProgramLines
from saldiag.app.watching.options import WatchOptions
from saldiag.app.watching.watched_model import WatchedModel
from saldiag.core.errors import SaldiagError
from saldiag.core.identity import WeakIdentityMap
from saldiag.core.interrupts import caused_by_interrupt
from saldiag.core.measurement import Source
from saldiag.subject.data.fit_batches import (
    PREVIEW_BATCHES,
    batch_of_call,
    batches_in_memory,
    plan_of_fit,
)
from saldiag.subject.data.stand_in import COMPUTED_INPUTS, symbolic_inputs, zero_batch
from saldiag.subject.program.error_origin import errors_marked_with, failing_model
from saldiag.subject.program.script import ProgramStopped
from saldiag.subject.source.layer_sources import LayerSources
from saldiag_probes.hooks.engine import HOOKS, HookedCall, HookPoint, Subscription
from saldiag_probes.hooks.gradient_tape import TAPE_TARGETS

MAX_CAUGHT_STOPS = 20
"""How often a program may catch ``ProgramStopped`` and continue before its process is ended."""

NO_FIRST_STEP = "the program ended before the model's first step"
"""Why the measurements of a model are missing that raised an error before its first step."""

NO_BATCH = "it contains no batch"
"""Why the data of a ``fit`` that drew none is unknown."""


class Observer:
    """Examines and watches the program's models while it is ``observing``.

    The program must not notice: no error of a probe reaches it, and the states of model, optimizer
    and random generators are restored after each examination.

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
        self.assigned_variables = AssignedVariables()
        """Variables that were assigned or trained."""
        self._stops = 0
        self._lines = lines
        self._open_session = open_session
        # By model: the line that compiled it last.
        self._compiled: WeakIdentityMap[Source | None] = WeakIdentityMap()
        # By model: what watches it, None if it is not watched; absent before its first training
        # and after each ``compile``, which begins a new diagnosis.
        self._current: WeakIdentityMap[WatchedModel | None] = WeakIdentityMap()
        self._loops = CustomLoops(self)
        self._subscription: Subscription | None = None

    @contextmanager
    def observing(self) -> Iterator[None]:
        """Receive the program's calls inside the block."""
        loops = self._loops
        with ExitStack() as stack:
            stack.callback(loops.close)
            self._subscription = stack.enter_context(HOOKS.subscribed({
                HookPoint.COMPILE: self.on_compile,
                HookPoint.FIT: self._on_fit,
                HookPoint.TRAIN_ON_BATCH: self._on_train_on_batch,
                HookPoint.ASSIGN: self._on_assign,
                HookPoint.APPLY: self.on_apply,
                HookPoint.CALL: self.on_call,
                HookPoint.GRAPH_CALL: loops.on_graph_call,
                HookPoint.TAPE_GRADIENT: loops.first_calls.on_tape_gradient,
            }))  # fmt: skip
            TAPE_TARGETS.start_listening()
            stack.callback(TAPE_TARGETS.stop_listening)
            yield

    @contextmanager
    def looking_away(self) -> Iterator[None]:
        """Receive no calls of this thread inside the block, in which Keras itself works."""
        if self._subscription is None:
            yield
            return
        with self._subscription.suspended():
            yield

    # Handlers of hooked calls.

    def on_compile(self, call: HookedCall) -> Any:
        """Record the line of ``compile``; a model that is compiled again gets a new diagnosis."""
        self._compiled[call.owner] = self.calling_line()
        self._current.pop(call.owner)
        with self.looking_away(), errors_marked_with(call.owner):
            return call.proceed()

    def on_apply(self, call: HookedCall) -> Any:
        """Handle a step of a custom loop."""
        return self._loops.on_apply(call)

    def on_call(self, call: HookedCall) -> Any:
        """Handle a call of a model."""
        return self._loops.on_call(call)

    def _on_assign(self, call: HookedCall) -> Any:
        """Record that weights are loaded or copied."""
        self.assigned_variables.mark_assigned((call.owner,))
        return call.proceed()

    def _on_fit(self, call: HookedCall) -> Any:
        """Train with the watcher among the callbacks, which examines the model and its data.

        Raises:
            ProgramStopped: the training is certain to fail, and the options say to stop early.
        """
        model = call.owner
        try:
            signature = inspect.signature(keras.Model.fit)
            arguments = dict(signature.bind(model, *call.args, **call.kwargs).arguments)
        except TypeError:
            return call.proceed()  # let Keras raise the error
        arguments.pop(next(iter(signature.parameters)))  # ``self``
        watched = self._watched_for_step(model)
        plan = guarded(lambda: plan_of_fit(arguments), lambda _: None)
        if watched is None or plan is None:
            with self.looking_away(), errors_marked_with(model):
                return call.proceed()
        if watched.record.is_examined:
            self._end_if_failing(watched)
        watcher = FitWatcher(watched, plan, lambda: self._end_if_failing(watched))
        given = {
            **arguments, "callbacks": joined_callbacks(arguments.get("callbacks"), watcher)
        }  # fmt: skip
        failed = False
        try:
            with self.looking_away(), errors_marked_with(model):
                result = call.proceed_with(**given)
        except Exception as error:
            failed = not caused_by_interrupt(error)
            raise
        finally:
            self._end_fit(watched, watcher, arguments, failed=failed)
        if watcher.stopped:
            self.stop_program(watcher.stopped)
        return result

    def _end_fit(
        self, watched: WatchedModel, watcher: FitWatcher, arguments: dict[str, Any], *, failed: bool
    ) -> None:
        """Examine what was not examined, and collect the measurements of a ``fit``."""
        if watched.record.steps:
            self.assigned_variables.mark_assigned(watched.model.trainable_variables)

        def end() -> None:
            watcher.examine_buffered()
            if not watched.record.is_examined:
                self._examine_without_steps(watched, watcher, arguments)
            if not watched.is_traced:
                with suppress(Exception):  # the reason why the model was not traced is recorded
                    self._trace_parts(watched)
            watched.end_training(failed=failed)

        guarded(end, lambda _: None)

    def _examine_without_steps(
        self, watched: WatchedModel, watcher: FitWatcher, arguments: dict[str, Any]
    ) -> None:
        """Examine a model whose ``fit`` drew no batch, on arrays if there are any."""
        batches = batches_in_memory(arguments, PREVIEW_BATCHES)
        if not batches:
            watched.mark_data_unreadable(NO_BATCH)
            return
        watched.examine_first_batch(batches[0], watcher.plan)
        watched.examine_batches(batches)

    def _on_train_on_batch(self, call: HookedCall) -> Any:
        """Examine the model at the first call as in ``fit``; count the other calls.

        Raises:
            ProgramStopped: enough steps were taken.
        """
        model = call.owner
        watched = self._watched_for_step(model)
        if watched is not None and not watched.record.is_examined:
            guarded(lambda: self._examine_call(watched, call), lambda _: None)
        if watched is None:
            with self.looking_away(), errors_marked_with(model):
                return call.proceed()
        self.before_step(watched, watched.record.steps)
        with self.looking_away(), errors_marked_with(model):
            result = call.proceed()
        with working_quietly():
            watched.count_step()
        if watched.record.steps == 1:
            self.assigned_variables.mark_assigned(model.trainable_variables)
        return result

    def _examine_call(self, watched: WatchedModel, call: HookedCall) -> None:
        """Examine a model on the batch of its first ``train_on_batch``."""
        signature = inspect.signature(keras.Model.train_on_batch)
        given = signature.bind(call.owner, *call.args, **call.kwargs).arguments
        batch = batch_of_call(given)
        names = ("x", "y", "sample_weight")
        size = {"batch_size": len(keras.tree.flatten(batch[0])[0]), "shuffle": False}
        plan = plan_of_fit({**dict(zip(names, batch, strict=False)), **size})
        watched.examine_first_batch(batch, plan)
        watched.examine_batches((batch,))
        watched.start_fit()

    # Used by the handlers above and by ``CustomLoops``.

    def living_models(self) -> list[Any]:
        """The program's models that are still referenced."""
        return self._lines.live_models()

    def calling_line(self) -> Source | None:
        """The line of the program that is running; None if there is none on the stack."""
        return self._lines.caller_source()

    def watched_model_of(self, model: Any) -> WatchedModel | None:
        """The watched model, until ``model`` is compiled again; None if it is not watched."""
        return self._current.get(model)

    def _watched_for_step(self, model: Any) -> WatchedModel | None:
        """What watches a model from its first step on; None if it is not watched."""
        if model in self._current:
            return self._current[model]
        line = self.calling_line()
        return guarded(lambda: self.start_watching(model, line), lambda _: self.give_up(model))

    def give_up(self, model: Any) -> None:
        """Train a model without watching it."""
        self.unwatched += 1
        self._current[model] = None

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
        full = len(self.watched) >= watch_options.MAX_MODELS
        session = None if full else self._new_session(str(model.name))
        if session is None:
            self.give_up(model)
            return None
        lines = ProgramLines(self._compiled.get(model) or compiled, trained)
        subject = Subject(model, self._lines.by_id(), name=str(model.name))
        watched = WatchedModel(session, subject, lines, self.options, self.assigned_variables)
        self.watched.append(watched)
        self._current[model] = watched
        return watched

    def _new_session(self, name: str) -> Collector | None:
        """The session of the next model; None if its run directory cannot be made."""
        try:
            return self._open_session(name)
        except SaldiagError:  # the disk may be full; the program continues
            return None

    def _trace_parts(self, whole: WatchedModel) -> None:
        """Trace the wiring of a model that cannot be called on its data, on zeros.

        A model without symbolic inputs is traced part by part: a GAN often has no ``call``, only a
        ``train_step``, and the inputs of its networks are unknown.
        """
        model, line = whole.model, whole.record.lines.trained
        if (inputs := symbolic_inputs(model)) is not None:
            whole.trace_wiring(zero_batch(inputs), COMPUTED_INPUTS)
            return
        for part in (layer for layer in model.layers if isinstance(layer, keras.Model)):
            inputs = symbolic_inputs(part)
            if inputs is None or part in self._current:
                continue
            watched = self.start_watching(part, line, self._compiled.get(model))
            if watched is not None:
                watched.trace_wiring(zero_batch(inputs), COMPUTED_INPUTS)

    def name_batches(self, batches: tuple[tuple[Any, ...], ...]) -> None:
        """Examine the inputs of custom loops on these batches, which the user has named."""
        self._loops.known_batches = batches

    def examine_pending_steps(self) -> None:
        """Examine first steps that a ``tf.function`` took which has not returned."""
        self._loops.examine_graph_steps()

    def end_trainings(self) -> None:
        """End the trainings of all watched models, such as those of custom loops."""
        guarded(self.examine_pending_steps, lambda _: None)
        for watched in self.watched:
            guarded(watched.end_training, lambda _: None)

    def measure_items(self) -> None:
        """Measure the samples that only the trainings could draw, once the program has ended."""
        for watched in self.watched:
            watched.measure_items(read_again=True)

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
            with working_quietly():
                found = self.start_watching(model, None)
            if found is not None:
                found.trace_wiring(zero_batch(symbolic_inputs(model)), NO_FIRST_STEP)
        return found

    # Ending the program early.

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
                f"{reason}; the program continued {MAX_CAUGHT_STOPS} times: ending its process"
            )
            with working_quietly():
                self.end_process()
        raise ProgramStopped(0)

    def _end_if_failing(self, watched: WatchedModel) -> None:
        """End the program if the options say to stop early, and the training is certain to fail."""
        if self.options.stop_early:
            with working_quietly():
                reason = watched.certain_failure()
            if reason:
                self.stop_program(reason)
