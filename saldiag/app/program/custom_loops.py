"""Training loops of a program's own: a tape, and ``optimizer.apply`` or ``apply_gradients``."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import tensorflow as tf

from saldiag.app.program.assigned_variables import Learnt
from saldiag.app.program.error_origin import blaming
from saldiag.app.program.first_step import UNTOLD, AsSeen, FirstCalls, Kept
from saldiag.app.program.options import WatchOptions
from saldiag.app.program.stand_in import COMPUTED, stand_in, symbolic_inputs
from saldiag.core.measurement import Source
from saldiag.keras_internals.optimizers import optimized_variables
from saldiag.keras_internals.variables import raw_variable
from saldiag_probes.loss.compiled_loss import loss_scale
from saldiag_probes.state.isolation import preserved_state
from saldiag_probes.training.gradient_tape import variable_id

if TYPE_CHECKING:
    from saldiag.app.program.watched_model import Watched

T = TypeVar("T")

PARTLY = "the optimizer trains a part of the model: another loss may train the rest"


class ModelObserver(Protocol):
    """What custom loops need of the observer of a program."""

    @property
    def options(self) -> WatchOptions:
        """What was asked for."""

    @property
    def learnt(self) -> Learnt:
        """Variables that were assigned or trained."""

    def models(self) -> list[Any]:
        """The program's models that are alive."""

    def caller(self) -> Source | None:
        """The line of the program that this is called from."""

    def current(self, model: Any) -> Watched | None:
        """The model's subject, as long as it is not compiled again."""

    def begin(self, model: Any, trained: Source | None) -> Watched | None:
        """A new subject; None where there have been enough, or no session can be had."""

    def prepared(self, owner: Any, prepare: Callable[[], T]) -> T | None:
        """Run ``prepare`` before the first step of ``owner``; None if it breaks."""

    def deaf(self) -> AbstractContextManager[None]:
        """Disable the hooks for this thread inside the block."""

    def at_work(self) -> AbstractContextManager[None]:
        """``deaf``, with Keras' warnings recorded and not shown."""

    def step_due(self, watched: Watched, taken: int) -> None:
        """Before a step of a custom loop: end the program if enough steps were taken."""


class Loops:
    """Finds out which model an optimizer trains, and on what."""

    def __init__(self, observer: ModelObserver) -> None:
        self._observer = observer
        self._known: weakref.WeakKeyDictionary[Any, Watched | None] = weakref.WeakKeyDictionary()
        self._inputs: weakref.WeakKeyDictionary[Any, Any] = weakref.WeakKeyDictionary()
        self._calls: list[tuple[Any, list[Any]]] = []
        self._trained_by: weakref.WeakKeyDictionary[Any, weakref.WeakSet[Watched]]
        self._trained_by = weakref.WeakKeyDictionary()
        self._applied: weakref.WeakKeyDictionary[Any, int] = weakref.WeakKeyDictionary()
        self._depth = 0
        self._settled: weakref.WeakSet[Any] = weakref.WeakSet()
        self._kept: weakref.WeakKeyDictionary[Watched, Kept] = weakref.WeakKeyDictionary()
        self._last: Watched | None = None
        self.first_calls = FirstCalls()

    def on_apply(self, optimizer: Any, original: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        """Hook into the optimizer at its first step; hold back a step that is not wanted."""
        observer = self._observer
        first = optimizer not in self._known
        if first:
            self._known[optimizer] = observer.prepared(
                optimizer, lambda: self._begin(optimizer, args, kwargs)
            )
        watched = self._known[optimizer]
        if watched is None:
            with observer.deaf():
                return original(optimizer, *args, **kwargs)
        eager = tf.executing_eagerly()
        self._trains(watched)
        self._in_turn(watched, first=first)
        if eager and watched.seen:
            self._over(watched)
        elif watched.model not in self._settled and optimizer is watched.optimizer:
            with observer.at_work():
                watched.attempt(lambda: self._first_step(watched, optimizer, args, kwargs))
        if eager:
            observer.step_due(watched, self._applied.get(optimizer, 0))
        with observer.deaf(), blaming(watched.model):
            # By the instance: the hook that was put there now, or before.
            result = optimizer.apply(*args, **kwargs) if first else original(
                optimizer, *args, **kwargs
            )  # fmt: skip
        if eager:
            self._applied[optimizer] = self._applied.get(optimizer, 0) + 1
            self._step_taken(watched)
        return result

    def on_call(self, model: Any, call: Callable[[], Any], inputs: Any) -> Any:
        """Remember what the outermost model is called on."""
        self._depth += 1
        try:
            with blaming(model) if self._depth == 1 else nullcontext():
                outputs = call()
        finally:
            self._depth -= 1
        if self._depth == 0:
            self._inputs[model] = inputs
            if model not in self._settled:
                self.first_calls.called(model, inputs, outputs)
        return outputs

    def on_graph_call(self, function: Any, call: Callable[[], Any], args: Any, kwargs: Any) -> Any:
        """Remember what the step is called on; count the steps that no Python code runs in."""
        outermost = not self._calls and tf.executing_eagerly()
        if outermost:
            for watched in self._trained(function):
                self._in_turn(watched, first=False)
                self._observer.step_due(watched, self._taken(watched))
        else:  # whoever calls it trains what it trains
            self._trains(*self._trained(function))
        self._calls.append((function, _tensors((args, kwargs))))
        try:
            result = call()
        finally:
            self._calls.pop()
            if outermost:
                self.settle()
        if outermost:
            for watched in self._trained(function):
                self._step_taken(watched)
        return result

    def _trained(self, function: Any) -> list[Watched]:
        """What a ``tf.function`` trains, as far as it was seen being traced."""
        return list(self._trained_by.get(function, ()))

    def _trains(self, *trained: Watched) -> None:
        """The functions that are running train these."""
        for function, _ in self._calls:
            self._trained_by.setdefault(function, weakref.WeakSet()).update(trained)

    def _step_taken(self, watched: Watched) -> None:
        """A step was taken, by Python or by a ``tf.function``, where it may be several."""
        with self._observer.deaf():
            watched.steps += 1
            watched.watch.on_train_batch_end(watched.steps)

    def _taken(self, watched: Watched) -> int:
        """Steps of a loop in graphs so far, where it matters: asking for them takes time."""
        if self._observer.options.steps is None:
            return 0
        return watched.steps if watched.watch.failed else watched.watch.steps - watched.before

    def _begin(self, optimizer: Any, args: Any, kwargs: Any) -> Watched | None:
        model = self._model_of(optimizer, args, kwargs)
        if model is None:
            return None
        self._observer.learnt.note(_variables(optimizer, args, kwargs))
        watched = self._observer.current(model) or self._observer.begin(
            model, self._observer.caller()
        )
        if watched is None:
            return None
        watched.trains_at(self._observer.caller())
        if watched.seen and watched.first_step is None:
            self._over(watched)
        with tf.init_scope():
            watched.trained_by(optimizer)
        return watched

    def settle(self) -> None:
        """Look at models whose first step was taken inside of a ``tf.function``."""
        for watched in [w for w in self._known.values() if w is not None and w.first_step]:
            with self._observer.at_work():
                watched.look_behind()
            self._over(watched)

    def _first_step(self, watched: Watched, optimizer: Any, args: Any, kwargs: Any) -> None:
        """Look at a model before its first step; in a graph, keep what is needed to look later."""
        model = watched.model
        variables = frozenset(map(variable_id, _variables(optimizer, args, kwargs)))
        seen = self.first_calls.of(model, variables) or AsSeen(None, reason=UNTOLD)
        called = seen.inputs if seen.inputs is not None else self._inputs.get(model)
        if not variables.issuperset(map(variable_id, model.trainable_variables)):
            seen = AsSeen(seen.inputs, reason=PARTLY)
        with tf.init_scope():
            scale, inputs = loss_scale(optimizer), self._values(called)
        if tf.executing_eagerly():
            self._look(watched, replace(seen, inputs=inputs).unscaled(scale))
            return
        # tf.function may trace a step twice before it executes one of the two.
        wanted = (*seen.gradients, *([] if seen.loss is None else [seen.loss]))
        kept = self._kept.get(watched) or Kept(wanted)
        self._kept[watched] = kept
        kept.keep(wanted)
        with tf.init_scope():
            before = [(v, v.read_value()) for v in map(raw_variable, model.variables)]

        def look() -> None:
            told = replace(kept.told(seen), inputs=inputs)
            with preserved_state(model):
                for variable, value in before:
                    variable.assign(value)
                self._look(watched, told.unscaled(scale))

        watched.first_step = look

    def _look(self, watched: Watched, seen: AsSeen) -> None:
        if seen.inputs is None:
            model = watched.model
            inputs = self._inputs.get(model)
            watched.follow(stand_in(symbolic_inputs(model) if inputs is None else inputs), COMPUTED)
        else:
            watched.look_at_step(seen)

    def _over(self, watched: Watched) -> None:
        self._settled.add(watched.model)
        self.first_calls.forget(watched.model)

    def _in_turn(self, watched: Watched, *, first: bool) -> None:
        """Networks that take turns train against each other, as far as anybody can tell."""
        last, self._last = self._last, watched
        graph = None if tf.executing_eagerly() else tf.compat.v1.get_default_graph()
        together = graph is not None and last is not None and last.graph is graph
        watched.graph = graph
        if last is not None and last is not watched and (together or not first):
            last.takes_turns = watched.takes_turns = True

    def _model_of(self, optimizer: Any, args: Any, kwargs: Any) -> Any:
        """The smallest model that has all the variables, or else the one that has most of them."""
        wanted = {variable_id(variable) for variable in _variables(optimizer, args, kwargs)}
        models = [
            (m, {variable_id(v) for v in m.trainable_variables}) for m in self._observer.models()
        ]
        able = [(m, has) for m, has in models if wanted & has]
        return max(
            able, key=lambda pair: (len(wanted & pair[1]), -len(pair[1])), default=(None, None)
        )[0]

    def _values(self, inputs: Any) -> Any:
        """What the model was called on in this step, as values; None if they are not known."""
        values = [self._value(tensor) for tensor in tf.nest.flatten(inputs)]
        if inputs is None or any(value is None for value in values):
            return None
        return tf.nest.pack_sequence_as(inputs, values)

    def _value(self, tensor: Any) -> Any:
        """The value of a placeholder of the step's graph: what the step was called with."""
        if not tf.is_symbolic_tensor(tensor) or not self._calls:
            return None if tf.is_symbolic_tensor(tensor) else tensor
        _, given = self._calls[0]
        inputs = list(getattr(tensor.graph, "inputs", ()))
        place = next((i for i, known in enumerate(inputs) if known is tensor), None)
        if place is not None and place < len(given):
            return given[place]
        alike = [t for t in given if tensor.shape.is_compatible_with(t.shape)]
        return alike[0] if len(alike) == 1 else None


def _variables(optimizer: Any, args: Any, kwargs: Any) -> Any:
    """The variables that a call of ``apply`` is about."""
    given = args[1] if len(args) > 1 else kwargs.get("trainable_variables")
    return given if given is not None else optimized_variables(optimizer)


def _tensors(arguments: Any) -> list[Any]:
    flat = tf.nest.flatten(arguments)
    return [t for t in flat if tf.is_tensor(t) or type(t).__module__ == "numpy"]
