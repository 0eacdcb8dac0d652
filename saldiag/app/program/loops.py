"""Training loops of a program's own: a tape, and ``optimizer.apply`` or ``apply_gradients``."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import tensorflow as tf

from saldiag.core.fitting import KERAS_BATCH
from saldiag.subject.frames import caller

if TYPE_CHECKING:
    from saldiag.app.program.observer import Observer
    from saldiag.app.program.watched import Watched

COMPUTED = "the step computes what it calls the model on"


class Loops:
    """Finds out which model an optimizer trains, and on what."""

    def __init__(self, observer: Observer) -> None:
        self._observer = observer
        self._known: weakref.WeakKeyDictionary[Any, Watched | None] = weakref.WeakKeyDictionary()
        self._inputs: weakref.WeakKeyDictionary[Any, Any] = weakref.WeakKeyDictionary()
        self._calls: list[list[Any]] = []
        self._depth = 0

    def apply(self, optimizer: Any, original: Callable[..., Any], args: Any, kwargs: Any) -> Any:
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
        if eager:
            observer.step_due(watched)
        with observer.deaf():
            # By the instance: the hook that was put there now, or before.
            result = optimizer.apply(*args, **kwargs) if first else original(
                optimizer, *args, **kwargs
            )  # fmt: skip
            if eager:
                watched.steps += 1
                watched.watch.on_train_batch_end(watched.steps)
        return result

    def called(self, model: Any, call: Callable[[], Any], inputs: Any) -> Any:
        """Remember what the outermost model is called on."""
        if self._depth == 0:
            self._inputs[model] = inputs
        self._depth += 1
        try:
            return call()
        finally:
            self._depth -= 1

    def graph_called(self, call: Callable[[], Any], args: Any, kwargs: Any) -> Any:
        """Remember what the step is called on; count the steps that no Python code runs in."""
        observer = self._observer
        outermost = not self._calls and tf.executing_eagerly()
        running = [w for w in self._known.values() if w is not None] if outermost else []
        for watched in running:
            observer.step_due(watched)
        self._calls.append(_tensors((args, kwargs)))
        try:
            result = call()
        finally:
            self._calls.pop()
        for watched in running:
            with observer.deaf():
                watched.watch.on_train_batch_end(watched.steps)
            watched.steps += 1
        return result

    def _begin(self, optimizer: Any, args: Any, kwargs: Any) -> Watched | None:
        model = self._model_of(optimizer, args, kwargs)
        if model is None:
            return None
        self._observer.learnt.note(_variables(optimizer, args, kwargs))
        watched = self._observer.begin(model, caller())
        if watched is None:
            return None
        with tf.init_scope():
            batch = self._batch(model)
            if batch is None:
                watched.follow(stand_in(self._inputs.get(model)), COMPUTED)
            else:
                watched.look((batch,), None)
            watched.watch.attach(model, optimizer)
        return watched

    def _model_of(self, optimizer: Any, args: Any, kwargs: Any) -> Any:
        """The smallest model that has all the variables, or else the one that has most of them."""
        wanted = {_identity(variable) for variable in _variables(optimizer, args, kwargs)}
        models = [
            (m, {_identity(v) for v in m.trainable_variables}) for m in self._observer.models()
        ]
        able = [(m, has) for m, has in models if wanted & has]
        return max(
            able, key=lambda pair: (len(wanted & pair[1]), -len(pair[1])), default=(None, None)
        )[0]

    def _batch(self, model: Any) -> tuple[Any, ...] | None:
        """What the model was called on in this step, as values, and what looks like its targets."""
        inputs = self._inputs.get(model)
        if inputs is None:
            return None
        flat = tf.nest.flatten(inputs)
        if all(not tf.is_symbolic_tensor(t) for t in flat):
            return (inputs,)
        values = [self._value(tensor) for tensor in flat]
        if any(value is None for value in values):
            return None
        return (tf.nest.pack_sequence_as(inputs, values),)

    def _value(self, tensor: Any) -> Any:
        """The value of a placeholder of the step's graph: what the step was called with."""
        if not tf.is_symbolic_tensor(tensor) or not self._calls:
            return None if tf.is_symbolic_tensor(tensor) else tensor
        given = self._calls[0]
        inputs = list(getattr(tensor.graph, "inputs", ()))
        place = next((i for i, known in enumerate(inputs) if known is tensor), None)
        if place is not None and place < len(given):
            return given[place]
        alike = [t for t in given if tensor.shape.is_compatible_with(t.shape)]
        return alike[0] if len(alike) == 1 else None


def symbolic_inputs(model: Any) -> Any:
    """A model's inputs as it takes them; None where it was built without any."""
    inputs = getattr(model, "inputs", None)
    if not inputs:
        return None
    try:
        return model.input
    except AttributeError:  # a Sequential model that no other model calls
        return inputs[0] if len(inputs) == 1 else inputs


def stand_in(inputs: Any) -> tuple[Any, ...] | None:
    """A batch of zeros in the shape of a model's symbolic inputs; None where it is not known.

    A size that is not known is that of Keras' batches: a single sample has faults of its own.
    """
    flat = tf.nest.flatten(inputs)
    if not all(hasattr(t, "shape") and tf.TensorShape(t.shape).rank is not None for t in flat):
        return None
    sizes = [[KERAS_BATCH if n is None else n for n in t.shape] for t in flat]
    zeros = [tf.zeros(size, t.dtype) for size, t in zip(sizes, flat, strict=True)]
    return (tf.nest.pack_sequence_as(inputs, zeros),)


def _variables(optimizer: Any, args: Any, kwargs: Any) -> Any:
    """The variables that a call of ``apply`` is about."""
    given = args[1] if len(args) > 1 else kwargs.get("trainable_variables")
    return given if given is not None else getattr(optimizer, "_trainable_variables", ())


def _tensors(arguments: Any) -> list[Any]:
    flat = tf.nest.flatten(arguments)
    return [t for t in flat if tf.is_tensor(t) or type(t).__module__ == "numpy"]


def _identity(variable: Any) -> int:
    return id(getattr(variable, "_value", variable))  # Keras wraps TensorFlow's
