"""The lab: trains one model repeatedly from its initial state, with and without changes.

Nothing is copied. All variables are restored before each training, and an intervention's swaps are
undone after it, so any model works: functional, subclassed, nested, with a custom training step.
Each arm is traced once for all its seeds; an arm that changes only data, learning rate or weights
reuses the trace of the control.
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
from saldiag.experiments.interventions.base import NotApplicable, intervention_named
from saldiag.experiments.interventions.batch_transforms import map_arrays
from saldiag.experiments.interventions.change import Batches, Change, Swap, combine_changes
from saldiag.experiments.overfit.mode_errors import batch_size
from saldiag.experiments.search.initial_states import SeededInitialStates, reorder_items
from saldiag.experiments.search.score import CannotScore
from saldiag.experiments.search.short_training import ShortTraining, TracedForward
from saldiag.keras_internals.layers import flattened_layers
from saldiag_probes.state.isolation import preserved_state
from saldiag_probes.trace.batch import as_batch, build_model
from saldiag_probes.trace.execution import without_graph_optimizer
from saldiag_probes.trace.paths import layer_paths

CONTROL = Arm("control", "the unchanged model")
"""The unchanged model, without results."""
StepReporter = Callable[[str, int, int], None]
"""Called with the arm's name, the seed and the step whenever a training is scored."""


MAX_REASON_LENGTH = 300
"""Characters of an error message that an arm keeps as its reason."""


@dataclass
class _PreparedChange:
    """An arm's change with the functions that were traced for it."""

    change: Change
    """The combined change of the arm."""
    train_function: Any = None
    """``model.train_function`` of the first seed, for the others; None until it was traced."""
    forward: Any = None
    """The ``TracedForward`` that scores the model."""
    optimizer_start: list[tuple[Any, Any]] = field(default_factory=list)
    """The optimizer's variables, each with its value before the first step."""


class Lab:
    """A compiled model and a few batches to train it on; implements ``Workbench``.

    Train arms inside ``with lab.open():``, which restores the model at its end.

    Args:
        model: a compiled Keras model; it is built here if it was not.
        batches: ``(x,)``, ``(x, y)`` or ``(x, y, sample_weight)`` each, with arrays (items, …).
        wiring: the connections between the layers, by which interventions find output layers;
            None if they are unknown.
    """

    def __init__(self, model: Any, batches: Sequence[Any], wiring: Wiring | None = None) -> None:
        self.model = model
        self.batches: Batches = tuple(_as_arrays(batch) for batch in batches)
        """The batches as numpy arrays."""
        build_model(model, as_batch(self.batches[0]))
        self.wiring = wiring
        self.optimizer = model.optimizer
        """The optimizer that the model was compiled with."""
        self.had_optimizer_built = False
        """Whether the optimizer was built before ``open``."""
        self.deadline = math.inf
        """When trainings end, in seconds of ``time.monotonic``."""
        self.report_step: StepReporter = _report_nothing
        """Called whenever a training is scored."""
        self.paths = layer_paths(model)
        """Path of each layer by its ``id()``; the model's own is empty."""
        self._prepared: dict[tuple[str, ...], _PreparedChange] = {}

    @contextlib.contextmanager
    def open(self) -> Iterator[None]:
        """Build the optimizer; at the end restore the model, its optimizer and all random states.

        XLA is switched off meanwhile.
        """
        model = self.model
        before = model.train_function, model.stop_training, model.jit_compile
        model.jit_compile = False  # XLA compiles every arm for minutes
        try:
            with (
                preserved_state(self.model),
                without_graph_optimizer(),
                _without_retracing_warnings(),
            ):
                self.had_optimizer_built = bool(self.model.optimizer.built)
                if not self.had_optimizer_built:
                    self.model.optimizer.build(self.model.trainable_variables)
                self._initial_states = SeededInitialStates(self.model)
                self._optimizer_start = _optimizer_values(self.model.optimizer)
                yield
        finally:
            self._prepared.clear()
            model.train_function, model.stop_training, model.jit_compile = before

    @property
    def layers(self) -> dict[str, Any]:
        """Every layer by its path; the model itself has the empty path."""
        return {self.paths[id(layer)]: layer for layer in flattened_layers(self.model)}

    @property
    def items(self) -> int:
        """Number of items that the model is trained on."""
        return sum(map(batch_size, self.batches))

    @property
    def initial_states(self) -> SeededInitialStates:
        """The initial states of the model's variables; only inside ``open``."""
        return self._initial_states

    def run_arm(self, names: tuple[str, ...], seeds: Sequence[int], steps: int) -> Arm:
        """Train with some interventions together, once from each seed.

        Args:
            names: names of the interventions; none is the control.
            seeds: seeds of the initial states.
            steps: training steps from each seed.

        Returns:
            The arm with a curve per seed. Without curves and with a ``reason`` if an intervention
            does not apply or breaks the training.

        Raises:
            CannotScore: targets and predictions of the control cannot be compared.
        """
        described = arm_without_results(names)
        try:
            prepared = self._prepare_change(names)
            curves = tuple(self._train_curve(prepared, seed, steps, described) for seed in seeds)
        except NotApplicable as error:
            return replace(described, reason=str(error))
        except CannotScore as error:
            if not names:
                raise
            return replace(described, reason=f"with this change, {error}")
        except Exception as error:
            if not names:
                raise
            text = " ".join(f"{type(error).__name__}: {error}".split())[:MAX_REASON_LENGTH]
            return replace(described, reason=f"training with this change fails: {text}")
        change = prepared.change
        return replace(
            described,
            told=change.description,
            layers=change.layers,
            curves=curves,
            planned_steps=steps,
        )

    def _prepare_change(self, names: tuple[str, ...]) -> _PreparedChange:
        """Combine the interventions' changes, and trace or reuse the functions they need."""
        if names in self._prepared:
            return self._prepared[names]
        with contextlib.ExitStack() as stack:
            self._initial_states.restore_seed(0)
            _assign_values(self._optimizer_start)
            # An intervention that trains to find its change (a range test) must not run the step
            # that was traced for another arm.
            self.model.train_function = None
            changes: list[Change] = []
            for name in names:
                # Each intervention sees the model with the changes before it in effect.
                change = self._with_optimizer(intervention_named(name)().change(self))
                stack.enter_context(change.in_effect())
                changes.append(change)
            combined = combine_changes(changes)
            prepared = _PreparedChange(combined)
            if combined.needs_retracing or not names:
                # A new optimizer has to be built while the swaps are in effect: they decide which
                # variables are trainable.
                optimizer = self.model.optimizer
                if not optimizer.built:
                    optimizer.build(self.model.trainable_variables)
                prepared.forward = TracedForward(self.model)
            else:
                control = self._prepare_change(())
                prepared.forward, prepared.train_function = control.forward, control.train_function
            prepared.optimizer_start = _optimizer_values(self.model.optimizer)
        self._prepared[names] = prepared
        return prepared

    def _with_optimizer(self, change: Change) -> Change:
        """The change with its optimizer, if it has one, as a swap."""
        if change.optimizer is None:
            return change
        swap = Swap(self.model, "optimizer", change.optimizer)
        return replace(change, swaps=(*change.swaps, swap), optimizer=None, needs_retracing=True)

    def _train_curve(self, prepared: _PreparedChange, seed: int, steps: int, arm: Arm) -> Curve:
        """Train once from the initial state of a seed."""
        change = prepared.change
        # The order matters: swaps first (they may make variables trainable), then the initial
        # values, which the change may override, then the data.
        with change.in_effect():
            self._initial_states.restore_seed(seed)
            _assign_values(prepared.optimizer_start)
            if change.set_initial_state is not None:
                change.set_initial_state(seed)
            batches = reorder_items(self.batches, seed)
            if change.transform_batches is not None:
                batches = change.transform_batches(batches, seed)
            training = ShortTraining(
                self.model,
                prepared.forward,
                batches,
                steps,
                seed,
                arm.mode,
                self.deadline,
                on_scored=lambda done: self.report_step(arm.name, seed, done),
                failure_is_outcome=arm is CONTROL,
            )
            # The first seed traces the step (None makes Keras build it), the others reuse it.
            self.model.train_function = prepared.train_function
            curve = training.run()
            prepared.train_function = self.model.train_function
            return curve


def arm_without_results(names: tuple[str, ...]) -> Arm:
    """The arm of these interventions (none: the control), before it was trained."""
    if not names:
        return CONTROL
    interventions = [intervention_named(name) for name in names]
    modes = {intervention.mode for intervention in interventions}
    return Arm(
        name=" + ".join(names),
        states=" and ".join(each.states for each in interventions),
        answers=tuple(dict.fromkeys(code for each in interventions for code in each.answers)),
        parts=names if len(names) > 1 else (),
        mode="inference" if "inference" in modes else "training",
        if_restored=next((each.if_restored for each in interventions if each.if_restored), ""),
    )


@contextlib.contextmanager
def _without_retracing_warnings() -> Iterator[None]:
    """Suppress TensorFlow's warning about frequent retracing: each arm needs its own graph."""

    def is_other_warning(record: logging.LogRecord) -> bool:
        return "triggered tf.function retracing" not in record.getMessage()

    logger = logging.getLogger("tensorflow")
    logger.addFilter(is_other_warning)
    try:
        yield
    finally:
        logger.removeFilter(is_other_warning)


def _optimizer_values(optimizer: Any) -> list[tuple[Any, Any]]:
    return [(variable, variable.value.read_value()) for variable in optimizer.variables]


def _assign_values(values: Sequence[tuple[Any, Any]]) -> None:
    for variable, value in values:
        variable.value.assign(value)


def _as_arrays(batch: Any) -> tuple[Any, ...]:
    """The batch as numpy arrays; floats get the dtype that ``fit`` would cast them to."""
    return map_arrays(_as_array, batch)


def _as_array(values: Any) -> Any:
    array = np.asarray(values)
    return array.astype(keras.config.floatx()) if array.dtype.kind == "f" else array


def _report_nothing(name: str, seed: int, step: int) -> None:
    """Show nothing."""
