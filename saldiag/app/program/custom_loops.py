"""Custom training loops: a ``GradientTape``, and ``optimizer.apply`` or ``apply_gradients``."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import tensorflow as tf

from saldiag.app.program.assigned_variables import AssignedVariables
from saldiag.app.program.error_origin import errors_marked_with
from saldiag.app.program.first_step import UNKNOWN_LOSS, FirstCalls, GraphValues, StepRecord
from saldiag.app.program.options import WatchOptions
from saldiag.app.program.stand_in import COMPUTED_INPUTS, symbolic_inputs, zero_batch
from saldiag.core.measurement import Source
from saldiag.keras_internals.optimizers import optimized_variables
from saldiag.keras_internals.variables import raw_variable
from saldiag_probes.loss.compiled_loss import loss_scale
from saldiag_probes.state.isolation import preserved_state
from saldiag_probes.training.gradient_tape import variable_id

if TYPE_CHECKING:
    from saldiag.app.program.watched_model import WatchedModel

T = TypeVar("T")

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

    def run_before_step(self, owner: Any, prepare: Callable[[], T]) -> T | None:
        """Run ``prepare`` before the first step of ``owner``; None if it raises an error."""

    def hooks_disabled(self) -> AbstractContextManager[None]:
        """Disable the hooks for this thread inside the block."""

    def working_quietly(self) -> AbstractContextManager[None]:
        """``hooks_disabled``, and Keras' warnings are not shown."""

    def before_step(self, watched: WatchedModel, taken: int) -> None:
        """End the program before a step of a custom loop if enough steps were taken."""


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
        self._models: weakref.WeakKeyDictionary[Any, WatchedModel | None] = (
            weakref.WeakKeyDictionary()
        )
        # By model: the inputs of its last call, symbolic if it was traced.
        self._inputs: weakref.WeakKeyDictionary[Any, Any] = weakref.WeakKeyDictionary()
        # The running tf.functions of the program, outermost first, with their tensor arguments.
        self._calls: list[tuple[Any, list[Any]]] = []
        # By tf.function: the models that it trains, as far as its tracing has shown.
        self._trained_in: weakref.WeakKeyDictionary[Any, weakref.WeakSet[WatchedModel]]
        self._trained_in = weakref.WeakKeyDictionary()
        # By optimizer: its eager steps.
        self._steps_applied: weakref.WeakKeyDictionary[Any, int] = weakref.WeakKeyDictionary()
        # How many calls of models are nested at the moment.
        self._depth = 0
        # Models whose first step is over, so that their calls need not be recorded.
        self._examined: weakref.WeakSet[Any] = weakref.WeakSet()
        self._graph_values: weakref.WeakKeyDictionary[WatchedModel, GraphValues] = (
            weakref.WeakKeyDictionary()
        )
        self._last_trained: WatchedModel | None = None
        self.first_calls = FirstCalls()
        """Records the calls of models until their first step is over."""

    def on_apply(self, optimizer: Any, original: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        """Examine the model before the optimizer's first step, then take the step.

        Raises:
            ProgramStopped: enough steps were taken.
        """
        observer = self._observer
        first = optimizer not in self._models
        if first:
            self._models[optimizer] = observer.run_before_step(
                optimizer, lambda: self._start_model(optimizer, args, kwargs)
            )
        watched = self._models[optimizer]
        if watched is None:
            with observer.hooks_disabled():
                return original(optimizer, *args, **kwargs)
        eager = tf.executing_eagerly()
        self._mark_trained(watched)
        self._mark_alternating(watched, first=first)
        if eager and watched.is_examined:
            self._end_first_step(watched)
        elif watched.model not in self._examined and optimizer is watched.optimizer:
            with observer.working_quietly():
                watched.examine_guarded(
                    lambda: self._examine_first_step(watched, optimizer, args, kwargs)
                )
        if eager:
            observer.before_step(watched, self._steps_applied.get(optimizer, 0))
        with observer.hooks_disabled(), errors_marked_with(watched.model):
            # ``attach_optimizer`` has just patched ``apply`` on the instance, which the method
            # of the class would miss.
            result = optimizer.apply(*args, **kwargs) if first else original(
                optimizer, *args, **kwargs
            )  # fmt: skip
        if eager:
            self._steps_applied[optimizer] = self._steps_applied.get(optimizer, 0) + 1
            self._count_step(watched)
        return result

    def on_call(self, model: Any, call: Callable[[], Any], inputs: Any) -> Any:
        """Record the inputs of the outermost model that is called."""
        self._depth += 1
        try:
            with errors_marked_with(model) if self._depth == 1 else nullcontext():
                outputs = call()
        finally:
            self._depth -= 1
        if self._depth == 0:
            self._inputs[model] = inputs
            if model not in self._examined:
                self.first_calls.record_call(model, inputs, outputs)
        return outputs

    def on_graph_call(self, function: Any, call: Callable[[], Any], args: Any, kwargs: Any) -> Any:
        """Record the arguments of a ``tf.function``, and count the steps that it takes.

        Raises:
            ProgramStopped: enough steps were taken.
        """
        outermost = not self._calls and tf.executing_eagerly()
        if outermost:
            for watched in self._models_trained_in(function):
                self._mark_alternating(watched, first=False)
                self._observer.before_step(watched, self._steps_taken(watched))
        else:  # the functions around it train the same models
            self._mark_trained(*self._models_trained_in(function))
        self._calls.append((function, _tensor_arguments((args, kwargs))))
        try:
            result = call()
        finally:
            self._calls.pop()
            if outermost:
                self.examine_graph_steps()
        if outermost:
            for watched in self._models_trained_in(function):
                self._count_step(watched)
        return result

    def _models_trained_in(self, function: Any) -> list[WatchedModel]:
        """The models that a ``tf.function`` trains, as far as its tracing has shown."""
        return list(self._trained_in.get(function, ()))

    def _mark_trained(self, *trained: WatchedModel) -> None:
        """Record that the running ``tf.function`` calls train these models."""
        for function, _ in self._calls:
            self._trained_in.setdefault(function, weakref.WeakSet()).update(trained)

    def _count_step(self, watched: WatchedModel) -> None:
        """Count a step of Python code, or a call of a ``tf.function``, which may take several."""
        with self._observer.hooks_disabled():
            watched.steps += 1
            watched.watch.on_train_batch_end(watched.steps)

    def _steps_taken(self, watched: WatchedModel) -> int:
        """Steps of a loop in a ``tf.function``; 0 without ``--steps``, since reading takes time."""
        if self._observer.options.steps is None:
            return 0
        return (
            watched.steps
            if watched.watch.failed
            else watched.watch.steps - watched.steps_before_loop
        )

    def _start_model(self, optimizer: Any, args: Any, kwargs: Any) -> WatchedModel | None:
        """Start watching the model that the optimizer trains, and measure its steps."""
        model = self._model_trained_by(optimizer, args, kwargs)
        if model is None:
            return None
        self._observer.assigned_variables.mark_assigned(_applied_variables(optimizer, args, kwargs))
        watched = self._observer.watched_model_of(model) or self._observer.start_watching(
            model, self._observer.calling_line()
        )
        if watched is None:
            return None
        watched.set_training_line(self._observer.calling_line())
        if watched.is_examined and watched.first_step is None:
            self._end_first_step(watched)
        with tf.init_scope():
            watched.attach_optimizer(optimizer)
        return watched

    def examine_graph_steps(self) -> None:
        """Examine the models whose first step was taken inside a ``tf.function``."""
        for watched in [w for w in self._models.values() if w is not None and w.first_step]:
            with self._observer.working_quietly():
                watched.examine_graph_step()
            self._end_first_step(watched)

    def _examine_first_step(
        self, watched: WatchedModel, optimizer: Any, args: Any, kwargs: Any
    ) -> None:
        """Examine a model before its first step.

        While a ``tf.function`` is traced, there are no values yet. Then operations are added to the
        graph that store the gradients and the loss of the first execution, and the examination
        runs once the function has returned, with the variables set back to their values of now.
        """
        model = watched.model
        variables = frozenset(map(variable_id, _applied_variables(optimizer, args, kwargs)))
        record = self.first_calls.step_record(model, variables) or StepRecord(
            None, reason=UNKNOWN_LOSS
        )
        called = record.inputs if record.inputs is not None else self._inputs.get(model)
        # Another optimizer with a loss of its own may train the other variables, which would
        # appear to have no gradient.
        if not variables.issuperset(map(variable_id, model.trainable_variables)):
            record = StepRecord(record.inputs, reason=PARTIAL_OPTIMIZER)
        with tf.init_scope():
            scale, inputs = loss_scale(optimizer), self._values_of_inputs(called)
        if tf.executing_eagerly():
            self._examine_step(watched, replace(record, inputs=inputs).without_loss_scale(scale))
            return
        # tf.function may trace a step twice before it executes one of the two graphs. Both store
        # into the same variables.
        tensors = (*record.gradients, *([] if record.loss is None else [record.loss]))
        graph_values = self._graph_values.get(watched) or GraphValues(tensors)
        self._graph_values[watched] = graph_values
        graph_values.store_in_graph(tensors)
        # init_scope leaves the graph that is traced, so that the values of now are read.
        with tf.init_scope():
            before = [(v, v.read_value()) for v in map(raw_variable, model.variables)]

        def examine_later() -> None:
            complete = replace(graph_values.fill_in(record), inputs=inputs)
            with preserved_state(model):
                for variable, value in before:
                    variable.assign(value)
                self._examine_step(watched, complete.without_loss_scale(scale))

        watched.first_step = examine_later

    def _examine_step(self, watched: WatchedModel, record: StepRecord) -> None:
        """Examine a model on the inputs of its step, or on zeros of their shape if unknown."""
        if record.inputs is None:
            model = watched.model
            inputs = self._inputs.get(model)
            watched.trace_wiring(
                zero_batch(symbolic_inputs(model) if inputs is None else inputs), COMPUTED_INPUTS
            )
        else:
            watched.examine_step(record)

    def _end_first_step(self, watched: WatchedModel) -> None:
        """Stop recording the calls of the model."""
        self._examined.add(watched.model)
        self.first_calls.forget_model(watched.model)

    def _mark_alternating(self, watched: WatchedModel, *, first: bool) -> None:
        """Mark models with alternating updates as adversarial: their losses need not fall.

        Two models alternate if they are trained in the same graph, or if one is trained again
        after the other. A model that is trained for the ``first`` time may just come next.
        """
        last, self._last_trained = self._last_trained, watched
        graph = None if tf.executing_eagerly() else tf.compat.v1.get_default_graph()
        same_graph = graph is not None and last is not None and last.graph is graph
        watched.graph = graph
        if last is not None and last is not watched and (same_graph or not first):
            last.is_alternating = watched.is_alternating = True

    def _model_trained_by(self, optimizer: Any, args: Any, kwargs: Any) -> Any:
        """The model with most of the step's variables, the smallest of several, or None."""
        applied = {
            variable_id(variable) for variable in _applied_variables(optimizer, args, kwargs)
        }
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


def _applied_variables(optimizer: Any, args: Any, kwargs: Any) -> Any:
    """The variables that a call of ``optimizer.apply`` updates."""
    given = args[1] if len(args) > 1 else kwargs.get("trainable_variables")
    return given if given is not None else optimized_variables(optimizer)


def _tensor_arguments(arguments: Any) -> list[Any]:
    """The tensors and arrays among the arguments of a ``tf.function``, flattened."""
    flat = tf.nest.flatten(arguments)
    return [t for t in flat if tf.is_tensor(t) or type(t).__module__ == "numpy"]
