"""One trace and one execution for wiring, gradient flow, dtypes and activations together.

The probes of this package add what they need to the same graph; it is executed once. The model, its
optimizer, its metrics and all random states are restored afterwards.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import tensorflow as tf

from saldiag.core.garbage import collection_paused
from saldiag.core.keras_types import BatchLike, KerasModel, LossFunction, Tensor, TensorTree
from saldiag.core.measurement import (
    Activations,
    DtypeTrace,
    GradientFlow,
    Origin,
    Source,
    Wiring,
)
from saldiag_probes.network import wiring as wiring_probe
from saldiag_probes.network.blocked_operations import blocked_operations
from saldiag_probes.network.trainability import batch_moments
from saldiag_probes.network.untracked_weights import untracked_weights
from saldiag_probes.network.unused_outputs import (
    ignored_outputs,
    output_losses,
    outputs_with_loss,
    unused_inputs,
)
from saldiag_probes.signal import activations as activations_probe
from saldiag_probes.signal import dtypes as dtypes_probe
from saldiag_probes.signal import gradient_flow as flow_probe
from saldiag_probes.signal import integer_overflow as overflow_probe
from saldiag_probes.state.isolation import preserved_state
from saldiag_probes.trace.backward import loss_dependencies
from saldiag_probes.trace.batch import Batch, as_batch, build_model
from saldiag_probes.trace.calls import Trace, flat_tensors
from saldiag_probes.trace.errors import CannotMeasure, error_summary
from saldiag_probes.trace.execution import without_graph_optimizer
from saldiag_probes.trace.recorder import trace_forward

NOT_REQUESTED = "not requested"
"""Reason in ``Survey.missing`` for a measurement that the caller switched off."""


@dataclass(frozen=True)
class Survey:
    """The measurements of one pass."""

    wiring: Wiring
    """Structure of the model, from the trace."""
    dtypes: DtypeTrace
    """Dtypes and casts, from the trace; integer overflow only if the graph was executed."""
    flow: GradientFlow | None = None
    """Gradient norms; None if not requested or not measurable, see ``missing``."""
    activations: Activations | None = None
    """Statistics of the layers' outputs; None if not requested or not measurable, see
    ``missing``."""
    loss: float = float("nan")
    """The batch's loss in the mode of the pass; nan if there is none."""
    moments: Mapping[str, bool] = field(default_factory=dict)
    """Whether each called BatchNormalization layer used the batch's moments, by path."""
    missing: Mapping[str, str] = field(default_factory=dict)
    """For each measurement that is None its key and the reason, one line for the user."""


class _SurveyPass:
    """The graph of one survey: built once, executed once or, after an overflow, a few times."""

    def __init__(
        self,
        model: KerasModel,
        batch: Batch,
        *,
        training: bool,
        flow: bool,
        activations: bool,
        loss: LossFunction | None,
    ) -> None:
        self.model, self.batch, self.training = model, batch, training
        self.wants_flow, self.wants_activations, self.given_loss = flow, activations, loss
        self.missing: dict[str, str] = {
            **({} if flow else {GradientFlow.key: NOT_REQUESTED}),
            **({} if activations else {Activations.key: NOT_REQUESTED}),
        }
        self.loss: Tensor | None = None
        self.flow: flow_probe.FlowPlan | None = None
        self.activations: activations_probe.ActivationPlan | None = None
        self.trace: Trace
        self.overflow: overflow_probe.OverflowPlan
        self._step = tf.function(self._build_graph, autograph=False, jit_compile=False)
        arguments = (batch.x, batch.y, batch.sample_weight)
        self._step.get_concrete_function(*arguments, tf.TensorSpec([], tf.float32))

    def _build_graph(
        self, x: TensorTree, y: TensorTree, sample_weight: TensorTree, scale: Tensor
    ) -> dict[str, Any]:
        """The traced function: run the model, and return the tensors that the probes fetch."""
        batch = Batch(x, y, sample_weight)
        self.trace = trace_forward(
            self.model, x, training=self.training, batch_size=self.batch.size
        )
        wiring_probe.add_operations(self.trace)
        self.overflow = overflow_probe.plan_overflow_checks(self.trace)
        fetches: dict[str, Any] = {"overflow": self.overflow.fetch}
        try:
            self.loss = flow_probe.traced_loss(
                self.model, self.trace, batch, self.given_loss, training=self.training
            )
            fetches["loss"] = self.loss
            if self.wants_flow:
                weights = self.model.trainable_variables
                self.flow = flow_probe.plan_gradient_flow(self.trace, self.loss, scale, weights)
                fetches["flow"] = self.flow.fetch
        except CannotMeasure as error:
            self.missing.setdefault(GradientFlow.key, error.reason)
        if self.wants_activations:
            self.activations = activations_probe.plan_activations(self.trace)
            fetches["activations"] = self.activations.fetch
        return fetches

    def run(self) -> tuple[dict[str, Any], float]:
        """Execute the graph; the fetched numbers, and the loss scale they were computed with."""
        scale = flow_probe.initial_scale(self.model)
        for attempt in range(flow_probe.MAX_SCALE_TRIES):
            with preserved_state(self.model), without_graph_optimizer():
                arguments = (self.batch.x, self.batch.y, self.batch.sample_weight)
                fetched = self._step(*arguments, tf.constant(scale, tf.float32))
                numbers = tf.nest.map_structure(np.asarray, fetched)
            is_last = attempt + 1 == flow_probe.MAX_SCALE_TRIES
            overflow = "flow" in numbers and flow_probe.has_nonfinite_values(numbers["flow"])
            if scale <= 1.0 or is_last or not overflow:
                break
            scale = max(scale / flow_probe.SCALE_BACKOFF, 1.0)
        return numbers, scale

    def static_measurements(
        self, sources: Mapping[int, Source] | None, origins: Sequence[Origin]
    ) -> Survey:
        """The measurements that the graph gives without being executed."""
        wiring = wiring_probe.describe_wiring(
            self.model, self.trace, loss=self.given_loss, sources=sources, origins=origins
        )
        dtypes = dtypes_probe.describe_dtypes(self.model, self.trace, self.loss)
        dependencies = loss_dependencies(self.trace, self.loss)
        if dependencies is not None:
            unused, handed = unused_inputs(self.model, dependencies)
            judged, unjudged = outputs_with_loss(self.model, self.trace)
            wiring = replace(
                wiring,
                blocked=blocked_operations(self.model, dependencies),
                untracked=untracked_weights(self.model, dependencies, sources),
                ignored=ignored_outputs(self.model, dependencies),
                unused=unused,
                handed=handed,
                judged=judged if self.given_loss is None else None,
                unjudged=unjudged if self.given_loss is None else (),
                losses=output_losses(self.model, self.trace) if self.given_loss is None else (),
            )
        moments = batch_moments(self.model, self.trace)
        return Survey(wiring, dtypes, moments=moments, missing=self.missing)

    def with_executed_measurements(
        self, static: Survey, numbers: dict[str, Any], scale: float
    ) -> Survey:
        """``static`` completed by what the execution gave."""
        loss = float(numbers["loss"]) if "loss" in numbers else float("nan")
        flow, activations = None, None
        if self.flow is not None:
            flow = flow_probe.describe_gradient_flow(
                self.model,
                self.flow,
                numbers["flow"],
                scale=scale,
                loss=loss,
                training=self.training,
            )
        if self.activations is not None:
            activations = activations_probe.describe_activations(
                self.activations,
                numbers["activations"],
                training=self.training,
                batch_size=self.batch.size,
            )
        ends = [*self.trace.outputs, *([] if self.loss is None else flat_tensors(self.loss))]
        wrapped = overflow_probe.describe_overflow(self.overflow, numbers["overflow"], ends)
        dtypes = replace(static.dtypes, wrapped=wrapped)
        return replace(static, dtypes=dtypes, flow=flow, activations=activations, loss=loss)


def survey(
    model: KerasModel,
    batch: BatchLike,
    *,
    training: bool = True,
    flow: bool = True,
    activations: bool = True,
    loss: LossFunction | None = None,
    sources: Mapping[int, Source] | None = None,
    origins: Sequence[Origin] = (),
) -> Survey:
    """Measure wiring and dtypes and, if requested, gradient flow and activations in one pass.

    Args:
        model: any Keras model; gradient flow needs a compiled one, or ``loss``.
        batch: ``x``, ``(x, y)`` or ``(x, y, sample_weight)``; arrays or tensors, nested as the
            model takes them.
        training: the mode of the forward pass.
        flow: whether to measure gradients.
        activations: whether to measure statistics of the layers' outputs.
        loss: ``loss(y, y_pred)``, used in place of the compiled loss.
        sources: line of the user's code by ``id(layer)``, for the wiring.
        origins: copied to the wiring.

    Returns:
        The measurements; ``missing`` holds the reason for each one that is None.

    Raises:
        CannotMeasure: the model cannot be called on this batch at all.
    """
    survey_pass = _trace_pass(
        model, batch, training=training, flow=flow, activations=activations, loss=loss
    )
    static = survey_pass.static_measurements(sources, origins)
    if not flow and not activations:
        return static
    try:
        numbers, scale = survey_pass.run()
    except Exception as error:  # raised by the user's model
        why = f"executing the model failed: {error_summary(error)}"
        failed = {GradientFlow.key: why, Activations.key: why}
        return replace(static, missing={**failed, **static.missing})
    return survey_pass.with_executed_measurements(static, numbers, scale)


def trace_only(
    model: KerasModel,
    batch: BatchLike,
    *,
    sources: Mapping[int, Source] | None = None,
    origins: Sequence[Origin] = (),
) -> Survey:
    """Measure wiring and dtypes without executing anything.

    Args:
        model: any Keras model.
        batch: a batch or its description, as for ``measure_dtypes``.
        sources: line of the user's code by ``id(layer)``.
        origins: copied to the wiring.

    Raises:
        CannotMeasure: the model cannot be called on such a batch.
    """
    survey_pass = _trace_pass(model, batch, training=True, flow=False, activations=False, loss=None)
    return survey_pass.static_measurements(sources, origins)


def _trace_pass(model: KerasModel, batch: BatchLike, **wanted: Any) -> _SurveyPass:
    data = as_batch(batch)
    build_model(model, data)
    # Tracing can advance seed generators and create the metrics' variables.
    # A trace makes next to no garbage, but so many objects that each collection takes 0.3 s.
    with preserved_state(model), collection_paused():
        return _SurveyPass(model, data, **wanted)


def measure_activations(model: KerasModel, x: TensorTree, training: bool = False) -> Activations:
    """Statistics of every layer call's output over one batch.

    Args:
        model: any Keras model, compiled or not.
        x: the model's input; arrays or tensors, nested as the model takes them.
        training: the mode of the forward pass.

    Raises:
        CannotMeasure: the model cannot be called, or the pass failed.
    """
    found = survey(model, (x,), training=training, flow=False)
    if found.activations is None:
        raise CannotMeasure(found.missing[Activations.key])
    return found.activations


def measure_dtypes(model: KerasModel, batch: BatchLike) -> DtypeTrace:
    """Compute, variable and actual dtypes of every layer call; nothing is executed.

    Args:
        model: any Keras model. If it is compiled and ``batch`` holds targets, the dtype of its loss
            is measured as well.
        batch: a batch or its description: ``tf.TensorSpec`` or ``keras.KerasTensor`` in place of
            the tensors (an unknown batch size counts as 1).

    Raises:
        CannotMeasure: the model cannot be called on such a batch.
    """
    return trace_only(model, batch).dtypes


def measure_gradient_flow(
    model: KerasModel, batch: BatchLike, *, training: bool = True, loss: LossFunction | None = None
) -> GradientFlow:
    """L2 norms of the gradient at the output and input of every layer call, for one batch.

    Args:
        model: any Keras model; compiled, unless ``loss`` is given.
        batch: ``(x, y)`` or ``(x, y, sample_weight)``; arrays or tensors, nested as the model takes
            them.
        training: the mode of the forward pass.
        loss: ``loss(y, y_pred)``, used in place of the compiled loss.

    Raises:
        CannotMeasure: the model cannot be called, has no loss, or the pass failed.
    """
    found = survey(model, batch, training=training, activations=False, loss=loss)
    if found.flow is None:
        raise CannotMeasure(found.missing[GradientFlow.key])
    return found.flow


def measure_wiring(
    model: KerasModel,
    batch: BatchLike,
    *,
    sources: Mapping[int, Source] | None = None,
    origins: Sequence[Origin] = (),
) -> Wiring:
    """The structure of a model, from its trace alone; nothing is executed.

    Args:
        model: any Keras model, compiled or not.
        batch: a batch or its description, as for ``measure_dtypes``.
        sources: line of the user's code by ``id(layer)``.
        origins: copied to the result.

    Raises:
        CannotMeasure: the model cannot be called on such a batch.
    """
    return trace_only(model, batch, sources=sources, origins=origins).wiring
