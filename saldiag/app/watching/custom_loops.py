"""Custom training loops: a ``GradientTape``, and ``optimizer.apply`` or ``apply_gradients``."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

import tensorflow as tf

from saldiag.app.watching.assigned_variables import AssignedVariables
from saldiag.app.watching.first_step import UNKNOWN_LOSS, FirstCalls, GraphValues, StepRecord
from saldiag.app.watching.guard import guarded
from saldiag.app.watching.initial_values import InitialValues, preserved_model
from saldiag.app.watching.options import WatchOptions
from saldiag.core.identity import WeakIdentityMap
from saldiag.core.measurement import Source
from saldiag.keras_internals.graphs import is_xla_function, untraced_copy
from saldiag.keras_internals.optimizers import optimized_variables
from saldiag.subject.data.stand_in import COMPUTED_INPUTS, symbolic_inputs, zero_batch
from saldiag.subject.program.error_origin import errors_marked_with
from saldiag.subject.source.stack_frames import source_in_traceback
from saldiag_probes.distribution.replica_watch import ReplicaWatch
from saldiag_probes.distribution.watching import subscribe_watch
from saldiag_probes.hooks.engine import HookedCall, Subscription
from saldiag_probes.hooks.replica_context import current_replica
from saldiag_probes.hooks.tape_call import variable_id
from saldiag_probes.loss.compiled_loss import loss_scale
from saldiag_probes.training.first_step import run_first_step

if TYPE_CHECKING:
    from saldiag.app.watching.watched_model import WatchedModel

PARTIAL_OPTIMIZER = "the optimizer trains only part of the model: another loss may train the rest"
"""Why there is no gradient flow if the optimizer lacks some of the trainable variables."""


class ModelObserver(Protocol):
    """The part of the program's observer that custom loops use."""

    @property
    def options(self) -> WatchOptions:
        """The options of the program's run."""

    @property
    def assigned_variables(self) -> AssignedVariables:
        """Variables that were assigned or trained."""

    def living_models(self) -> list[Any]:
        """The program's models that are still referenced."""

    def calling_line(self) -> Source | None:
        """The line of the program that is running."""

    def watched_model_of(self, model: Any) -> WatchedModel | None:
        """The watched model, until ``model`` is compiled again; None if it is not watched."""

    def start_watching(self, model: Any, trained: Source | None) -> WatchedModel | None:
        """Watch a model; None if the limit is reached, or no run directory can be made."""

    def give_up(self, model: Any) -> None:
        """Train a model without watching it."""

    def looking_away(self) -> AbstractContextManager[None]:
        """Receive no calls of this thread inside the block."""

    def before_step(self, watched: WatchedModel, taken: int) -> None:
        """End the program before a step of a custom loop if enough steps were taken."""


@dataclass
class _LoopState:
    """What is known about the custom loop of one model."""

    examine_later: Callable[[], None] | None = None
    """Examines a first step that was taken inside a ``tf.function``; None without one."""
    graph_values: GraphValues | None = None
    """Stores the values of a first step inside a ``tf.function``; None for an eager loop."""
    graph: Any = None
    """The graph of the last step; None if it ran eagerly."""
    is_over: bool = False
    """Whether the first step is over, so that the model's calls need not be recorded."""
    steps_before: int = 0
    """Steps that the probe had counted before the loop began."""
    replicas: ReplicaWatch | None = None
    """The probe of a loop on several replicas; None on one."""
    subscription: Subscription | None = None
    """That of the probe of the replicas."""


class CustomLoops:
    """Finds out which model an optimizer trains, on which inputs, and with which loss.

    Nothing in a custom loop names the model. It is found from the variables of the first
    ``optimizer.apply``. The model's last call has the inputs, and the gradient tape has the loss.

    In a ``tf.function`` all of that is symbolic while the step is traced, and Python code runs only
    then. The examination of the first step is therefore postponed until the traced function has
    returned, and the steps are counted by the calls of the function.
    """

    def __init__(self, observer: ModelObserver) -> None:
        self._observer = observer
        # By optimizer: the model that it trains, None if it is unknown or not watched.
        self._models: WeakIdentityMap[WatchedModel | None] = WeakIdentityMap()
        # By optimizer: its eager steps.
        self._steps_applied: WeakIdentityMap[int] = WeakIdentityMap()
        # By model: the inputs of its last call, symbolic if it was traced.
        self._inputs: WeakIdentityMap[Any] = WeakIdentityMap()
        # By model: its loop.
        self._loops: WeakIdentityMap[_LoopState] = WeakIdentityMap()
        # The running tf.functions of the program, outermost first, with their tensor arguments.
        self._calls: list[tuple[Any, list[Any]]] = []
        # By tf.function: the models that it trains, as far as its tracing has shown.
        self._trained_in: WeakIdentityMap[list[WatchedModel]] = WeakIdentityMap()
        # By tf.function that XLA cannot compile with the probes in it: a copy without them.
        self._without_probes: WeakIdentityMap[Any] = WeakIdentityMap()
        # How many calls of models are nested at the moment.
        self._depth = 0
        self._last_trained: WatchedModel | None = None
        self.known_batches: tuple[tuple[Any, ...], ...] = ()
        """Batches of the loop's data that the user has named; empty if unknown."""
        self.first_calls = FirstCalls()
        """Records the calls of models until their first step is over."""

    def on_apply(self, call: HookedCall) -> Any:
        """Examine the model before the optimizer's first step, then take the step.

        Raises:
            ProgramStopped: enough steps were taken.
        """
        observer, optimizer = self._observer, call.owner
        if current_replica():  # the first replica speaks for all
            with observer.looking_away():
                return call.proceed()
        first = optimizer not in self._models
        if first:
            self._models[optimizer] = guarded(
                lambda: self._start_model(optimizer, _applied_variables(call)),
                lambda _: observer.give_up(optimizer),
            )
        watched = self._models[optimizer]
        if watched is None:
            with observer.looking_away():
                return call.proceed()
        eager = tf.executing_eagerly()
        self._mark_trained(watched)
        self._mark_alternating(watched, first=first)
        state = self._loop_of(watched.model)
        if eager and watched.record.is_examined:
            self._end_first_step(watched)
        elif not state.is_over and optimizer is watched.optimizer:
            variables = _applied_variables(call)
            watched.examine_guarded(lambda: self._examine_first_step(watched, variables))
        if eager:
            observer.before_step(watched, self._steps_applied.get(optimizer) or 0)
        with observer.looking_away(), errors_marked_with(watched.model):
            result = call.proceed()
        if eager:
            self._steps_applied[optimizer] = (self._steps_applied.get(optimizer) or 0) + 1
            self._count_step(watched)
        return result

    def on_call(self, call: HookedCall) -> Any:
        """Record the inputs of the outermost model that is called."""
        model, inputs = call.owner, call.args[0] if call.args else None
        if self._depth == 0 and current_replica() is not None:
            self._watch_replicas(model, inputs)
        self._depth += 1
        try:
            with errors_marked_with(model) if self._depth == 1 else nullcontext():
                outputs = call.proceed()
        finally:
            self._depth -= 1
        if self._depth == 0:
            self._inputs[model] = inputs
            state = self._loops.get(model)
            if state is None or not state.is_over:
                self.first_calls.record_call(model, inputs, outputs)
        return outputs

    def _watch_replicas(self, model: Any, inputs: Any) -> None:
        """Watch the replicas of a loop from its first call of the model on."""
        state = self._loop_of(model)
        if state.replicas is None:
            state.replicas = ReplicaWatch(model, source_in_traceback)
            state.replicas.on_model_call(inputs)
            state.subscription = subscribe_watch(state.replicas)

    def close(self) -> None:
        """Watch no replicas any more."""
        for state in self._loops.values():
            if state.subscription is not None:
                state.subscription.cancel()

    def on_graph_call(self, call: HookedCall) -> Any:
        """Record the arguments of a ``tf.function``, and count the steps that it takes.

        Raises:
            ProgramStopped: enough steps were taken.
        """
        function = call.owner
        outermost = not self._calls and tf.executing_eagerly()
        if outermost:
            for watched in self._models_trained_in(function):
                self._mark_alternating(watched, first=False)
                self._observer.before_step(watched, self._steps_taken(watched))
        else:  # the functions around it train the same models
            self._mark_trained(*self._models_trained_in(function))
        self._calls.append((function, _tensor_arguments((call.args, call.kwargs))))
        try:
            result = self._run_function(call) if outermost else call.proceed()
        finally:
            self._calls.pop()
            if outermost:
                self.examine_graph_steps()
        if outermost:
            for watched in self._models_trained_in(function):
                self._count_step(watched)
        return result

    def _run_function(self, call: HookedCall) -> Any:
        """Call an outermost ``tf.function``, without the probes if XLA cannot compile it with them.

        A function that is compiled as a whole has changed nothing when its compilation fails. It is
        then traced again, as another function that takes its place from then on.
        """
        function = call.owner
        stand_in = self._without_probes.get(function)
        if stand_in is not None:
            return stand_in(*call.args, **call.kwargs)
        known = self._models_trained_in(function)
        if known or not is_xla_function(function):
            return call.proceed()

        def withdraw(reason: str) -> None:
            for watched in self._models_trained_in(function):
                watched.watch.withdraw(reason)
                self._loop_of(watched.model).examine_later = None
            self._without_probes[function] = untraced_copy(function)

        def call_again() -> Any:
            return self._without_probes[function](*call.args, **call.kwargs)

        return run_first_step(call.proceed, withdraw, call_again)

    def _loop_of(self, model: Any) -> _LoopState:
        state = self._loops.get(model)
        if state is None:
            state = self._loops[model] = _LoopState()
        return state

    def _models_trained_in(self, function: Any) -> list[WatchedModel]:
        """The models that a ``tf.function`` trains, as far as its tracing has shown."""
        return list(self._trained_in.get(function) or ())

    def _mark_trained(self, *trained: WatchedModel) -> None:
        """Record that the running ``tf.function`` calls train these models."""
        for function, _ in self._calls:
            known = self._models_trained_in(function)
            self._trained_in[function] = [*known, *(w for w in trained if w not in known)]

    def _count_step(self, watched: WatchedModel) -> None:
        """Count a step of Python code, or a call of a ``tf.function``, which may take several."""
        with self._observer.looking_away():
            watched.count_step()

    def _steps_taken(self, watched: WatchedModel) -> int:
        """Steps of a loop in a ``tf.function``; 0 without ``--steps``, since reading takes time."""
        if self._observer.options.steps is None:
            return 0
        if watched.watch.failed:
            return watched.record.steps
        return watched.watch.steps - self._loop_of(watched.model).steps_before

    def _start_model(self, optimizer: Any, variables: Any) -> WatchedModel | None:
        """Start watching the model that the optimizer trains, and measure its steps."""
        observer = self._observer
        model = self._model_trained_by(variables)
        if model is None:
            return None
        observer.assigned_variables.mark_assigned(variables)
        line = observer.calling_line()
        watched = observer.watched_model_of(model) or observer.start_watching(model, line)
        if watched is None:
            return None
        watched.set_training_line(line)
        state = self._loop_of(watched.model)
        watched.replicas = watched.replicas or state.replicas
        if watched.record.is_examined and state.examine_later is None:
            self._end_first_step(watched)
        if watched.optimizer is None:
            state.steps_before = watched.watch.steps
        with tf.init_scope():
            watched.attach_optimizer(optimizer)
        return watched

    def examine_graph_steps(self) -> None:
        """Examine the models whose first step was taken inside a ``tf.function``."""
        for watched in [w for w in self._models.values() if w is not None]:
            state = self._loop_of(watched.model)
            examine, state.examine_later = state.examine_later, None
            if examine is not None:
                watched.examine_guarded(examine)
                self._end_first_step(watched)

    def _examine_first_step(self, watched: WatchedModel, variables: Any) -> None:
        """Examine a model before its first step.

        While a ``tf.function`` is traced, there are no values yet. Then operations are added to the
        graph that store the gradients and the loss of the first execution, and the examination
        runs once the function has returned, with the variables set back to their values of now.
        """
        model, state = watched.model, self._loop_of(watched.model)
        ids = frozenset(map(variable_id, variables))
        record = self.first_calls.step_record(model, ids) or StepRecord(None, reason=UNKNOWN_LOSS)
        called = record.inputs if record.inputs is not None else self._inputs.get(model)
        # Another optimizer with a loss of its own may train the other variables, which would
        # appear to have no gradient.
        if not ids.issuperset(map(variable_id, model.trainable_variables)):
            record = StepRecord(record.inputs, reason=PARTIAL_OPTIMIZER)
        with tf.init_scope():
            scale, inputs = loss_scale(watched.optimizer), self._values_of_inputs(called)
        if tf.executing_eagerly():
            with preserved_model(model):
                self._examine_step(
                    watched, replace(record, inputs=inputs).without_loss_scale(scale)
                )
            return
        # tf.function may trace a step twice before it executes one of the two graphs. Both store
        # into the same variables.
        tensors = (*record.gradients, *([] if record.loss is None else [record.loss]))
        values = state.graph_values = state.graph_values or GraphValues(tensors)
        values.store_in_graph(tensors)
        # init_scope leaves the graph that is traced, so that the values of now are read.
        with tf.init_scope():
            initial = InitialValues(model)

        def examine_later() -> None:
            complete = replace(values.fill_in(record), inputs=inputs)
            with initial.restored():
                self._examine_step(watched, complete.without_loss_scale(scale))

        state.examine_later = examine_later

    def _examine_step(self, watched: WatchedModel, record: StepRecord) -> None:
        """Examine a model on the inputs of its step, or on zeros of their shape if unknown."""
        if record.inputs is None:
            model = watched.model
            inputs = self._inputs.get(model)
            watched.trace_wiring(
                zero_batch(symbolic_inputs(model) if inputs is None else inputs), COMPUTED_INPUTS
            )
        else:
            watched.examine_step(record, self.known_batches)

    def _end_first_step(self, watched: WatchedModel) -> None:
        """Stop recording the calls of the model."""
        self._loop_of(watched.model).is_over = True
        self.first_calls.forget_model(watched.model)

    def _mark_alternating(self, watched: WatchedModel, *, first: bool) -> None:
        """Mark models with alternating updates as adversarial: their losses need not fall.

        Two models alternate if they are trained in the same graph, or if one is trained again
        after the other. A model that is trained for the ``first`` time may just come next.
        """
        last, self._last_trained = self._last_trained, watched
        graph = None if tf.executing_eagerly() else tf.compat.v1.get_default_graph()
        same_graph = (
            graph is not None and last is not None and self._loop_of(last.model).graph is graph
        )
        self._loop_of(watched.model).graph = graph
        if last is not None and last is not watched and (same_graph or not first):
            last.mark_alternating()
            watched.mark_alternating()

    def _model_trained_by(self, variables: Any) -> Any:
        """The model with most of the step's variables, the smallest of several, or None."""
        applied = set(map(variable_id, variables))
        models = [
            (m, {variable_id(v) for v in m.trainable_variables})
            for m in self._observer.living_models()
        ]
        candidates = [(m, has) for m, has in models if applied & has]
        return max(
            candidates,
            key=lambda pair: (len(applied & pair[1]), -len(pair[1])),
            default=(None, None),
        )[0]

    def _values_of_inputs(self, inputs: Any) -> Any:
        """The inputs of the model's call in this step as values; None if any value is unknown."""
        values = [self._value_of(tensor) for tensor in tf.nest.flatten(inputs)]
        if inputs is None or any(value is None for value in values):
            return None
        return tf.nest.pack_sequence_as(inputs, values)

    def _value_of(self, tensor: Any) -> Any:
        """The value of a tensor; a placeholder's is the argument of the outermost ``tf.function``.

        Placeholders and arguments have the same order. A tensor that is not among the placeholders
        takes the value of the only argument with a compatible shape; None if there is none, or
        there are several.
        """
        if not tf.is_symbolic_tensor(tensor) or not self._calls:
            return None if tf.is_symbolic_tensor(tensor) else tensor
        _, given = self._calls[0]
        inputs = list(getattr(tensor.graph, "inputs", ()))
        index = next((i for i, known in enumerate(inputs) if known is tensor), None)
        if index is not None and index < len(given):
            return given[index]
        compatible = [t for t in given if tensor.shape.is_compatible_with(t.shape)]
        return compatible[0] if len(compatible) == 1 else None


def _applied_variables(call: HookedCall) -> Any:
    """The variables that a call of ``optimizer.apply`` updates."""
    given = call.args[1] if len(call.args) > 1 else call.kwargs.get("trainable_variables")
    return list(given if given is not None else optimized_variables(call.owner))


def _tensor_arguments(arguments: Any) -> list[Any]:
    """The tensors and arrays among the arguments of a ``tf.function``, flattened."""
    # Composite tensors, such as the values of several replicas, are spread out as in the graph.
    flat = tf.nest.flatten(arguments, expand_composites=True)
    return [t for t in flat if tf.is_tensor(t) or type(t).__module__ == "numpy"]
