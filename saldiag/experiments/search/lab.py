"""Where experiments are made: one model, trained again and again from its own start.

Nothing is copied. All variables are put back before each training, and what an intervention swaps
is put back behind it, so that any model will do: functional or subclassed, nested, with a training
step of its own. Each arm is traced once, whatever the number of seeds; an arm that changes only
data, rate or weights uses the trace of the control.
"""

from __future__ import annotations

import contextlib
import logging
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import keras
import numpy as np

from saldiag.core.measurement import Arm, Curve, Wiring
from saldiag.experiments.interventions.base import NotApplicable, intervention
from saldiag.experiments.interventions.batch_transforms import each_array
from saldiag.experiments.interventions.change import Batches, Change, Swap, together
from saldiag.experiments.overfit.mode_errors import batch_size
from saldiag.experiments.search.initial_states import Starts, reordered
from saldiag.experiments.search.score import CannotScore
from saldiag.experiments.search.short_training import Forward, Training
from saldiag.keras_internals.layers import flattened_layers
from saldiag_probes.state.isolation import undisturbed
from saldiag_probes.trace.execution import graph_as_built
from saldiag_probes.trace.paths import layer_paths
from saldiag_probes.trace.recorder import as_batch, build

CONTROL = Arm("control", "the model as it is")
Tell = Callable[[str, int, int], None]
"""Called with the arm's name, the seed and the step, now and then."""


@dataclass
class _Prepared:
    """An arm's change, and what was traced for it."""

    change: Change
    train_function: Any = None
    forward: Any = None
    optimizer_start: list[tuple[Any, Any]] = field(default_factory=list)


class Lab:
    """A compiled model and a few batches. Use it ``with lab.open():``, which puts all back.

    ``wiring`` tells interventions which layers make the output.
    """

    def __init__(self, model: Any, batches: Sequence[Any], wiring: Wiring | None = None) -> None:
        self.model = model
        self.batches: Batches = tuple(_plain(batch) for batch in batches)
        build(model, as_batch(self.batches[0]))
        self.wiring = wiring
        self.optimizer = model.optimizer
        self.had_optimizer_built = False
        self.deadline = math.inf
        self.tell: Tell = _untold
        self.paths = layer_paths(model)
        self._prepared: dict[tuple[str, ...], _Prepared] = {}

    @contextlib.contextmanager
    def open(self) -> Iterator[None]:
        """Build the optimizer; at the end model, optimizer and all randomness are as they were."""
        model = self.model
        before = model.train_function, model.stop_training, model.jit_compile
        model.jit_compile = False  # XLA compiles every arm for minutes
        try:
            with undisturbed(self.model), graph_as_built(), _traces_expected():
                self.had_optimizer_built = bool(self.model.optimizer.built)
                if not self.had_optimizer_built:
                    self.model.optimizer.build(self.model.trainable_variables)
                self._starts = Starts(self.model)
                self._optimizer = _values(self.model.optimizer)
                yield
        finally:
            self._prepared.clear()
            model.train_function, model.stop_training, model.jit_compile = before

    @property
    def layers(self) -> dict[str, Any]:
        """Every layer by its path, the model itself as the empty one."""
        return {self.paths[id(layer)]: layer for layer in flattened_layers(self.model)}

    @property
    def items(self) -> int:
        """How many items are trained on."""
        return sum(map(batch_size, self.batches))

    @property
    def starts(self) -> Starts:
        """The starts of the model's variables."""
        return self._starts

    def arm(self, names: tuple[str, ...], seeds: Sequence[int], steps: int) -> Arm:
        """Train with the interventions of those names together, once for each seed.

        No name is the control. An intervention with nothing to change, and one that breaks the
        training, are no curves but a reason.
        """
        described = described_arm(names)
        try:
            prepared = self._prepare(names)
            curves = tuple(self._curve(prepared, seed, steps, described) for seed in seeds)
        except NotApplicable as error:
            return replace(described, reason=str(error))
        except CannotScore as error:
            if not names:
                raise
            return replace(described, reason=f"with it, {error}")
        except Exception as error:
            if not names:
                raise
            told = " ".join(f"{type(error).__name__}: {error}".split())[:300]
            return replace(described, reason=f"the training with it fails: {told}")
        change = prepared.change
        return replace(
            described, told=change.told, layers=change.layers, curves=curves, planned_steps=steps
        )

    def _prepare(self, names: tuple[str, ...]) -> _Prepared:
        if names in self._prepared:
            return self._prepared[names]
        with contextlib.ExitStack() as stack:
            self._starts.restore(0)
            _assign(self._optimizer)
            # An intervention that trains to find out (a range test) has to trace for itself.
            self.model.train_function = None
            parts: list[Change] = []
            for name in names:
                part = self._with_optimizer(intervention(name)().change(self))
                stack.enter_context(part.made())
                parts.append(part)
            change = together(parts)
            prepared = _Prepared(change)
            if change.traced or not names:
                optimizer = self.model.optimizer
                if not optimizer.built:
                    optimizer.build(self.model.trainable_variables)
                prepared.forward = Forward(self.model)
            else:
                control = self._prepare(())
                prepared.forward, prepared.train_function = control.forward, control.train_function
            prepared.optimizer_start = _values(self.model.optimizer)
        self._prepared[names] = prepared
        return prepared

    def _with_optimizer(self, change: Change) -> Change:
        if change.optimizer is None:
            return change
        swap = Swap(self.model, "optimizer", change.optimizer)
        return replace(change, swaps=(*change.swaps, swap), optimizer=None, traced=True)

    def _curve(self, prepared: _Prepared, seed: int, steps: int, arm: Arm) -> Curve:
        """One training from the start of that seed."""
        change = prepared.change
        with change.made():
            self._starts.restore(seed)
            _assign(prepared.optimizer_start)
            if change.start is not None:
                change.start(seed)
            batches = reordered(self.batches, seed)
            batches = change.feed(batches, seed) if change.feed is not None else batches
            training = Training(
                self.model, prepared.forward, batches, steps, seed, arm.mode, self.deadline,
                tell=lambda done: self.tell(arm.name, seed, done), keeps_failing=arm is CONTROL,
            )  # fmt: skip
            self.model.train_function = prepared.train_function
            curve = training.run()
            prepared.train_function = self.model.train_function
            return curve


def described_arm(names: tuple[str, ...]) -> Arm:
    """The arm of those interventions, without what was found."""
    if not names:
        return CONTROL
    kinds = [intervention(name) for name in names]
    return Arm(
        name=" + ".join(names),
        states=" and ".join(kind.states for kind in kinds),
        answers=tuple(dict.fromkeys(code for kind in kinds for code in kind.answers)),
        parts=names if len(names) > 1 else (),
        mode="inference" if any(kind.mode == "inference" for kind in kinds) else "training",
        if_restored=next((kind.if_restored for kind in kinds if kind.if_restored), ""),
    )


@contextlib.contextmanager
def _traces_expected() -> Iterator[None]:
    """Without TensorFlow's advice on tracing too often: each arm is a graph of its own."""

    def other(record: logging.LogRecord) -> bool:
        return "triggered tf.function retracing" not in record.getMessage()

    logger = logging.getLogger("tensorflow")
    logger.addFilter(other)
    try:
        yield
    finally:
        logger.removeFilter(other)


def _values(optimizer: Any) -> list[tuple[Any, Any]]:
    return [(variable, variable.value.read_value()) for variable in optimizer.variables]


def _assign(values: Sequence[tuple[Any, Any]]) -> None:
    for variable, value in values:
        variable.value.assign(value)


def _plain(batch: Any) -> tuple[Any, ...]:
    """As arrays, of the floating type that ``fit`` would make of them."""
    return each_array(_array, batch)


def _array(part: Any) -> Any:
    array = np.asarray(part)
    return array.astype(keras.config.floatx()) if array.dtype.kind == "f" else array


def _untold(name: str, seed: int, step: int) -> None:
    """Show nothing."""
