"""The steps of an examination: trace a batch, examine data and loss, test, compare flags."""

from __future__ import annotations

import math
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from saldiag.app.loading.subject import MAX_SHOWN_IMAGES, Batches, Subject
from saldiag.app.session.collector import Collector
from saldiag.core.errors import SaldiagError
from saldiag.core.measurement import (
    Activations,
    Baselines,
    DataFacts,
    Distribution,
    DtypeTrace,
    ForeignObjects,
    GradientFlow,
    GradientHistory,
    ItemFacts,
    LossCheck,
    OverfitHistory,
    Predictions,
    RangeTest,
    Seeds,
    TensorFacts,
    TrainableStatus,
    TrainingPlan,
    Wiring,
)
from saldiag.core.training.fit_plan import FitPlan
from saldiag.core.training.schedule import every, logarithmic, never
from saldiag.keras_internals.layers import flattened_layers

if TYPE_CHECKING:
    from saldiag.experiments.overfit.mode_errors import ModeErrors

NO_BASELINES = Baselines("loss", math.nan, math.nan, math.nan, "none")
"""Baselines if the loss cannot be evaluated on constant predictions."""


@dataclass
class Examination:
    """Examines one subject on its data; each method adds its measurements to the session."""

    session: Collector
    """Takes the measurements."""
    subject: Subject
    """The compiled model, and what is known about it."""
    data: Batches
    """The batches to examine the model on, at least one."""
    plan: FitPlan | None = None
    """Arguments of the program's ``fit``, as far as they are known; None if they are unknown."""
    optimizer: Any = None
    """Optimizer of a custom loop; None for the model's own."""
    _surveyed_moments: Mapping[str, bool] = field(default_factory=dict, init=False)
    """By the BatchNorm layer's path: whether it used batch statistics in the survey."""
    _surveyed_flags: list[bool] | None = field(default=None, init=False)
    """``trainable`` of every layer at the time of the survey."""

    @property
    def model(self) -> Any:
        """The compiled model."""
        return self.subject.model

    def survey(
        self,
        *,
        flow: bool = True,
        activations: bool = True,
        batch: tuple[Any, ...] | None = None,
        loss: Callable[[Any, Any], Any] | None = None,
    ) -> None:
        """Trace one batch in training mode: wiring, dtypes, gradient flow and activations.

        Args:
            flow: whether to compute gradients.
            activations: whether to compute statistics of the layers' outputs.
            batch: the batch to trace; None for the first of ``data``.
            loss: ``loss(y, y_pred)`` in place of the compiled loss; None for the compiled loss.

        Raises:
            SaldiagError: the model cannot be called on the batch.
        """
        from saldiag_probes.loss.compiled_loss import optimizer_facts
        from saldiag_probes.survey import survey
        from saldiag_probes.trace.errors import CannotMeasure

        with self.session.phase("tracing one batch through the model"):
            try:
                result = survey(
                    self.model,
                    batch or self.data.batches[0],
                    flow=flow,
                    activations=activations,
                    loss=loss,
                    sources=self.subject.sources,
                    origins=self.subject.origins,
                )
            except CannotMeasure as error:
                raise SaldiagError(error.reason) from error
        self._surveyed_moments, self._surveyed_flags = result.moments, self._trainable_flags()
        if self.model.distribute_strategy.num_replicas_in_sync < 2:
            self.session.add(Distribution())
        wiring = result.wiring
        if wiring is not None and self.subject.name is not None:
            wiring = replace(wiring, model=self.subject.name)
        if wiring is not None and self.optimizer is not None:
            wiring = replace(wiring, **optimizer_facts(self.optimizer))
        self.session.add(wiring, result.flow, result.dtypes, result.activations)
        for kind in (Wiring, GradientFlow, DtypeTrace, Activations):
            if kind.key in result.missing:
                self.session.mark_missing(kind, result.missing[kind.key])
        self._note_single_device()

    def _note_single_device(self) -> None:
        """Record that there is a single replica, if that is so: nothing is to be measured then."""
        strategy = getattr(self.model, "distribute_strategy", None)
        if strategy is None or strategy.num_replicas_in_sync == 1:
            self.session.add(Distribution())
        else:
            self.session.mark_missing(Distribution, "the training of the replicas was not watched")

    @cached_property
    def mode_errors(self) -> ModeErrors:
        """Predictions and losses of the batches in training and in inference mode; made once."""
        from saldiag.experiments.overfit.mode_errors import ModeErrors

        return ModeErrors(self.model, self.data.batches)

    def examine_data(self) -> None:
        """Measure inputs, targets and predictions, the baselines, and the loss recomputed."""
        with self.session.phase("checking data and loss"):
            self.session.try_measuring(DataFacts, self._measure_data)
            self.session.try_measuring(LossCheck, self._measure_loss)
        with self.session.phase("checking samples"):
            if self.plan is None or not self.plan.is_drawn_once:
                self.session.try_measuring(ItemFacts, self._measure_items)
            self.session.try_measuring(ForeignObjects, self._measure_foreign_objects)
            self.session.try_measuring(Seeds, self._measure_seeds)

    def examine_inputs(self) -> None:
        """Measure inputs and predictions if targets and loss are unknown."""
        from saldiag_probes.data.tensor_statistics import measure_data

        with self.session.phase("checking inputs"):
            self.session.try_measuring(
                DataFacts,
                lambda: measure_data(
                    self.model, self.data.batches, expected_range=self.subject.expected_range
                ),
            )
            self.session.try_measuring(ForeignObjects, self._measure_foreign_objects)
            self.session.try_measuring(Seeds, self._measure_seeds)

    def measure_drawn_items(self, *, read_again: bool) -> None:
        """Measure the samples of data that only the training may draw, when it has ended.

        Args:
            read_again: whether nothing draws from the data any more; False for the batches so far.
        """
        if self.plan is not None and self.plan.is_drawn_once:
            if not read_again:
                self.plan = replace(self.plan, data=None)
            self.session.try_measuring(ItemFacts, self._measure_items)

    def add_validation(self, batches: Sequence[tuple[Any, ...]]) -> None:
        """Add validation batches to the plan, if it has none and the training has drawn some."""
        if self.plan is not None and self.plan.validation is None and batches:
            self.plan = replace(self.plan, validation=tuple(batches[:1]))

    def _measure_items(self) -> ItemFacts:
        from saldiag_probes.data.samples import measure_items

        return measure_items(self.model, self.plan, self.data.batches)

    def _measure_foreign_objects(self) -> ForeignObjects:
        from saldiag_probes.network.legacy_keras import measure_foreign_objects

        return measure_foreign_objects(self.model, self.plan.callbacks if self.plan else ())

    def _measure_seeds(self) -> Seeds:
        from saldiag_probes.state.seeds import measure_seeds

        return measure_seeds()

    def _measure_data(self) -> DataFacts:
        from saldiag_probes.data.tensor_statistics import measure_data

        batches = self.data.batches
        facts = measure_data(
            self.model,
            batches,
            predictions=self._predictions_of_loss(),
            expected_range=self.subject.expected_range,
            max_batches=len(batches),
            no_baselines=self._changing_loss(),
        )
        return _only_outputs_with_loss(facts, self.session.measured.get(Wiring))

    def _predictions_of_loss(self) -> Callable[[Any], Any] | None:
        """A function that returns the predictions of the loss check, batch by batch.

        None if the loss cannot be computed.
        """
        try:
            predicted = iter(self.mode_errors.predict(training=False))
        except Exception:  # the loss check reports the error; the probe predicts without a loss
            return None
        return lambda _: next(predicted)

    def _measure_loss(self) -> LossCheck | None:
        reason = self._changing_loss()
        if reason is None:
            return self.mode_errors.loss_check()
        self.session.mark_missing(LossCheck, reason)
        return None

    def _changing_loss(self) -> str | None:
        """What shows that the loss depends on its own state; None if nothing does."""
        try:
            return self.mode_errors.changing_loss
        except Exception:  # the loss check reports the error
            return None

    def measure_trainability(
        self, history: GradientHistory | None, assigned: Container[Any] = ()
    ) -> None:
        """Compare the trainable flags with the gradients and updates of the variables.

        Args:
            history: the measured training steps; None to take one step.
            assigned: variables that have been assigned or trained since their initialisation.
        """
        from saldiag_probes.network.trainability import measure_trainable

        with self.session.phase("comparing trainable flags with updates"):
            self.session.try_measuring(
                TrainableStatus,
                lambda: measure_trainable(
                    self.model,
                    self.data.batches[0],
                    history,
                    assigned,
                    # A flag that changed since the survey may have changed BatchNorm's mode.
                    moments=self._surveyed_moments
                    if self._surveyed_flags == self._trainable_flags()
                    else None,
                ),
            )

    def _trainable_flags(self) -> list[bool]:
        """``trainable`` of every layer, which decides the mode of BatchNorm."""
        return [bool(layer.trainable) for layer in flattened_layers(self.model)]

    def run_overfit_test(self, *, histograms: bool = True, **plan: Any) -> OverfitHistory:
        """Run the overfit test on the batches with the gradient probe on.

        A test that learns slowly is followed by a learning rate range test.

        Args:
            histograms: whether to take histograms of gradients and weights.
            plan: fields of ``OverfitPlan``; the earlier measurements fill in the rest.

        Raises:
            CannotMeasure: the loss depends on its own state, so that no error means anything.
        """
        from saldiag.experiments.overfit.learning_rate_range import range_test
        from saldiag.experiments.overfit.overfit_test import OverfitPlan, OverfitTest
        from saldiag.rules.verdicts.overfit import learns_slowly
        from saldiag_probes.trace.errors import CannotMeasure
        from saldiag_probes.training.callback import Watch

        if reason := self._changing_loss():
            raise CannotMeasure(reason)
        facts = self.session.measured.get(DataFacts)
        watch = Watch(every(1), logarithmic(2) if histograms else never)
        with self.session.phase("memorising", own_display="progress" in plan):
            planned = OverfitPlan(
                baselines=(facts.baselines if facts else None) or NO_BASELINES,
                no_gradient=self.no_gradient(),
                callbacks=(watch,),
                **plan,
            )
            try:
                history = OverfitTest(self.mode_errors, planned).run()
            finally:
                watch.close()  # an interrupted fit does not tell its callbacks
        self.session.add(history)
        if len(history.loss):
            self.collect_history(watch)
        else:
            self.session.mark_missing(
                GradientHistory, "no step was taken: no trainable variable receives a gradient"
            )
        if learns_slowly(history):
            with self.session.phase("testing higher learning rates"):
                left = history.budget_seconds / 2
                self.session.try_measuring(RangeTest, lambda: range_test(self.mode_errors, left))
        return history

    def no_gradient(self) -> bool:
        """Whether the survey found no trainable variable with a gradient above rounding error."""
        from saldiag.rules.shared.gradient_cut import no_gradient

        measured = self.session.measured
        flow = measured.get(GradientFlow)
        return flow is not None and no_gradient(flow, measured.get(Wiring))

    def measure_training_plan(self) -> None:
        """Measure the plan of the training, if it is known; best called after the overfit test.

        Callbacks derive their direction (min or max) from the compiled metrics, which Keras builds
        in the first training step.
        """
        plan = self.plan
        if plan is None:
            self.session.mark_missing(
                TrainingPlan, "the arguments of the program's fit call are not known"
            )
            return
        from saldiag_probes.training.fit_plan import measure_plan

        self.session.try_measuring(TrainingPlan, lambda: measure_plan(self.model, plan))

    def collect_predictions(self) -> None:
        """Add the first images with their masks, and the model's predictions in inference mode."""
        self.session.try_measuring(Predictions, self._first_predictions)

    def _first_predictions(self) -> Predictions:
        low, high = self.data.pixel_range or (0.0, 1.0)
        images, masks = (np.asarray(part[:MAX_SHOWN_IMAGES]) for part in self.data.batches[0][:2])
        predicted = np.asarray(self.mode_errors.predict(training=False)[0], dtype=np.float32)
        return Predictions(
            names=self.data.names[: len(images)],
            images=(images - low) / (high - low),
            targets=masks,
            predictions=predicted[:MAX_SHOWN_IMAGES],
        )

    def collect_history(self, watch: Any) -> GradientHistory | None:
        """Add what the gradient probe has measured so far.

        Args:
            watch: the callback ``saldiag_probes.training.callback.Watch``.
        """
        if watch.failed:
            self.session.mark_missing(GradientHistory, watch.failed)
        self.session.add(*watch.measurements())
        return self.session.measured.get(GradientHistory)


def _only_outputs_with_loss(facts: DataFacts, wiring: Wiring | None) -> DataFacts:
    """The facts without the targets and predictions of outputs that have no loss.

    The target of such an output is only a placeholder.
    """
    unjudged = wiring.unjudged if wiring is not None else ()
    count = len(facts.predictions)

    def with_loss(tensors: tuple[TensorFacts, ...]) -> tuple[TensorFacts, ...]:
        if len(tensors) != count:
            return tensors  # the program gives targets only for outputs with a loss
        return tuple(tensor for index, tensor in enumerate(tensors) if index not in unjudged)

    return replace(
        facts, targets=with_loss(facts.targets), predictions=with_loss(facts.predictions)
    )
