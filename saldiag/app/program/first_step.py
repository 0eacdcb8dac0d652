"""The first step of a custom loop: what the model was called on, and the loss's gradient there."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import tensorflow as tf

from saldiag_probes.training.gradient_tape import in_current_graph, loss_from_tape
from saldiag_probes.training.ring_buffer import run_if

CALLS = 4
"""Calls of models in a step that are remembered."""

SEVERAL = "the loop's loss depends on {count} calls of the model: not known how from each"
UNTOLD = "a custom loop's loss is not known: no gradient tape was asked for it"
NOT_ENDED = "the first step of the custom loop did not end"
PENALTIES = "the model has penalties of its own, and it is not known whether the loop's loss does"


@dataclass(frozen=True)
class AsSeen:
    """A batch, and the loss as far as the first step tells it.

    ``gradients`` are those of the loss by the outputs at ``places`` of the flattened predictions;
    there are none where ``reason`` says why. ``loss`` is a scalar, None where it is not known.
    """

    inputs: Any
    places: tuple[int, ...] = ()
    gradients: tuple[Any, ...] = ()
    reason: str = ""
    loss: Any = None

    def batch(self) -> tuple[Any, ...]:
        """For the probes: the gradients stand in for targets."""
        return (self.inputs, list(self.gradients)) if self.gradients else (self.inputs,)

    def unscaled(self, scale: float) -> AsSeen:
        """Loss and gradients in float32, without the factor that an optimizer puts on the loss."""
        told = tuple(tf.cast(g, tf.float32) / scale for g in self.gradients)
        loss = None if self.loss is None else float(self.loss) / scale
        return replace(self, gradients=told, loss=loss)

    def loss_of_the_loop(self, gradients: Any, predictions: Any) -> Any:
        """A number that changes with the predictions just as the loss did at that step.

        This function's name is what the rules know the loss by.
        """
        flat = tf.nest.flatten(predictions)
        pairs = zip(self.places, gradients, strict=True)
        return tf.add_n([tf.reduce_sum(g * tf.cast(flat[i], tf.float32)) for i, g in pairs])


@dataclass(eq=False)
class _Call:
    """One call of a model: what was asked for, and the gradients by ``outputs``, None for none."""

    model: Any
    inputs: Any
    outputs: list[Any]
    told: list[tuple[frozenset[int], dict[int, Any]]] = field(default_factory=list)

    def is_here(self) -> bool:
        """Whether it is of the graph that is being traced now, not of an earlier trace."""
        return any(tf.is_tensor(tensor) and in_current_graph(tensor) for tensor in self.outputs)

    def gradients(self, wanted: frozenset[int]) -> dict[int, Any]:
        """By the place of the output, as the last tape has it that was asked for any of these."""
        found = [gradients for names, gradients in self.told if names & wanted]
        return found[-1] if found else {}


class FirstCalls:
    """Subscribes to gradient tapes until a model's first step is over (see ``gradient_tape``).

    The gradients by the predictions fall off in the pass that the program makes anyway.
    """

    def __init__(self) -> None:
        self._calls: deque[_Call] = deque(maxlen=CALLS)
        self._places: list[tuple[_Call, int]] = []

    def called(self, model: Any, inputs: Any, outputs: Any) -> None:
        """A model was called whose first step is not over."""
        self._calls.append(_Call(model, inputs, tf.nest.flatten(outputs)))

    def extra_tensors(self) -> Sequence[Any]:
        """The outputs of the calls, those that this tape can know."""
        self._places = [
            (call, place)
            for call in self._calls
            for place, tensor in enumerate(call.outputs)
            if isinstance(tensor, tf.Tensor)
            and tensor.dtype.is_floating
            and in_current_graph(tensor)
        ]
        return [call.outputs[place] for call, place in self._places]

    def receive_gradients(self, variables: frozenset[int], gradients: Sequence[Any]) -> None:
        """Keep the gradients by outputs that a tape has for ``variables``."""
        found: dict[_Call, dict[int, Any]] = {}
        for (call, place), gradient in zip(self._places, gradients, strict=True):
            if gradient is not None:
                found.setdefault(call, {})[place] = tf.convert_to_tensor(gradient)
        for call, by_place in found.items():
            call.told.append((variables, by_place))

    def of(self, model: Any, variables: frozenset[int]) -> AsSeen | None:
        """What the first step over ``variables`` tells, perhaps in symbols; None without a call."""
        calls = [call for call in self._calls if call.model is model and call.is_here()]
        if not calls:
            return None
        asked = [call for call in calls if call.gradients(variables)]
        if len(asked) != 1:
            why = SEVERAL.format(count=len(asked)) if asked else UNTOLD
            return AsSeen(calls[-1].inputs, reason=why)
        call, gradients = asked[0], asked[0].gradients(variables)
        if model.losses:
            return AsSeen(call.inputs, reason=PENALTIES)
        told = tuple(gradients.values())
        return AsSeen(call.inputs, tuple(gradients), told, loss=loss_from_tape(variables))

    def forget(self, model: Any) -> None:
        """The model's first step is over."""
        self._calls = deque((c for c in self._calls if c.model is not model), maxlen=CALLS)
        self._places = []


class Kept:
    """Values of tensors of a graph, from its first execution on."""

    def __init__(self, tensors: Sequence[Any]) -> None:
        with tf.init_scope():
            self._done = tf.Variable(False, trainable=False)
            self._values = [_room_for(tensor) for tensor in tensors]

    def keep(self, tensors: Sequence[Any]) -> None:
        """Add to the present graph what keeps their values, once."""

        def put() -> Any:
            for variable, tensor in zip(self._values, tensors, strict=True):
                variable.assign(tensor)
            self._done.assign(True)
            return tf.constant(True)

        run_if(tf.logical_not(self._done), put, lambda: tf.constant(False))

    def told(self, seen: AsSeen) -> AsSeen:
        """``seen`` with values for what was kept of it: its gradients, and its loss if known."""
        if not seen.gradients:
            return seen
        if not bool(self._done):
            return replace(seen, gradients=(), loss=None, reason=NOT_ENDED)
        values = [variable.read_value() for variable in self._values]
        count = len(seen.gradients)
        loss = values[count] if len(values) > count else None
        return replace(seen, gradients=tuple(values[:count]), loss=loss)


def _room_for(tensor: Any) -> Any:
    shape = [1 if size is None else size for size in tensor.shape.as_list()]
    return tf.Variable(tf.zeros(shape, tensor.dtype), trainable=False, shape=tensor.shape)
