"""What commands do with one subject: follow a batch, look at data and loss, compare flags."""

from __future__ import annotations

import math
from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from saldiag.app.session.collector import Collector
from saldiag.app.subject.subject import MAX_PICTURES, Batches, Subject
from saldiag.core.errors import SaldiagError
from saldiag.core.measurement import (
    Activations,
    Baselines,
    DataFacts,
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
"""Stands in where the loss cannot be evaluated on plain predictions."""


@dataclass
class Examination:
    """A session, and the subject and data that it is about; ``data`` has at least one batch.

    ``plan`` is what the program hands to ``fit``, as far as it is known; ``optimizer`` is that of
    a custom loop, in place of the model's own.
    """

    session: Collector
    subject: Subject
    data: Batches
    plan: FitPlan | None = None
    optimizer: Any = None
    _moments: Mapping[str, bool] = field(default_factory=dict, init=False)
    _flags: list[bool] | None = field(default=None, init=False)

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
        """One trace of one batch in training mode: wiring, dtypes; gradient flow, activations.

        Args:
            flow: whether to take gradients.
            activations: whether to take statistics of the layers' outputs.
            batch: in place of the first of ``data``.
            loss: ``loss(y, y_pred)`` in place of the compiled loss.

        Raises:
            SaldiagError: the model cannot be called on the first batch.
        """
        from saldiag_probes.loss.compiled_loss import optimizer_facts
        from saldiag_probes.survey import survey
        from saldiag_probes.trace.errors import CannotMeasure

        with self.session.phase("following one batch through the model"):
            try:
                seen = survey(
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
        self._moments, self._flags = seen.moments, self._flags_now()
        wiring = seen.wiring
        if wiring is not None and self.subject.name is not None:
            wiring = replace(wiring, model=self.subject.name)
        if wiring is not None and self.optimizer is not None:
            wiring = replace(wiring, **optimizer_facts(self.optimizer))
        self.session.add(wiring, seen.flow, seen.dtypes, seen.activations)
        for kind in (Wiring, GradientFlow, DtypeTrace, Activations):
            if kind.key in seen.missing:
                self.session.missing(kind, seen.missing[kind.key])

    @cached_property
    def errors(self) -> ModeErrors:
        """Predictions and losses of the batches, in either mode."""
        from saldiag.experiments.overfit.mode_errors import ModeErrors

        return ModeErrors(self.model, self.data.batches)

    def look_at_data(self) -> None:
        """Facts of inputs, targets and predictions; baselines; the loss recomputed."""
        with self.session.phase("looking at data and loss"):
            self.session.attempt(DataFacts, self._data_facts)
            self.session.attempt(LossCheck, self._loss_check)
        with self.session.phase("looking at items"):
            self.session.attempt(ItemFacts, self._item_facts)
            self.session.attempt(ForeignObjects, self._foreign_objects)
            self.session.attempt(Seeds, self._seeds)

    def look_at_inputs(self) -> None:
        """Facts of inputs and predictions, where targets and loss are not known."""
        from saldiag_probes.data.tensor_statistics import measure_data

        with self.session.phase("looking at inputs"):
            self.session.attempt(
                DataFacts,
                lambda: measure_data(
                    self.model, self.data.batches, expected_range=self.subject.expected_range
                ),
            )
            self.session.attempt(ForeignObjects, self._foreign_objects)
            self.session.attempt(Seeds, self._seeds)

    def _item_facts(self) -> ItemFacts:
        from saldiag_probes.data.samples import measure_items

        return measure_items(self.model, self.plan, self.data.batches)

    def _foreign_objects(self) -> ForeignObjects:
        from saldiag_probes.network.legacy_keras import measure_foreign_objects

        return measure_foreign_objects(self.model, self.plan.callbacks if self.plan else ())

    def _seeds(self) -> Seeds:
        from saldiag_probes.state.seeds import measure_seeds

        return measure_seeds()

    def _data_facts(self) -> DataFacts:
        from saldiag_probes.data.tensor_statistics import measure_data

        batches = self.data.batches
        facts = measure_data(
            self.model,
            batches,
            predictions=self._predictions(),
            expected_range=self.subject.expected_range,
            max_batches=len(batches),
        )
        return _judged_by_the_loss(facts, self.session.measured.get(Wiring))

    def _predictions(self) -> Callable[[Any], Any] | None:
        """Those that the loss was computed from; None where it refuses them or the targets."""
        try:
            predicted = iter(self.errors.predict(training=False))
        except Exception:  # it is told with the loss; what there is to predict is seen without it
            return None
        return lambda _: next(predicted)

    def _loss_check(self) -> LossCheck:
        return self.errors.loss_check()

    def trainable(self, history: GradientHistory | None, learnt: Container[Any] = ()) -> None:
        """Declared and real trainability, from training steps if there were any.

        ``learnt``: variables that are known to be at their start no more.
        """
        from saldiag_probes.network.trainability import measure_trainable

        with self.session.phase("comparing flags with facts"):
            self.session.attempt(
                TrainableStatus,
                lambda: measure_trainable(
                    self.model,
                    self.data.batches[0],
                    history,
                    learnt,
                    moments=self._moments if self._flags == self._flags_now() else None,
                ),
            )

    def _flags_now(self) -> list[bool]:
        """What the layers say of being trainable, on which it hangs how BatchNorm is run."""
        return [bool(layer.trainable) for layer in flattened_layers(self.model)]

    def memorise(self, *, histograms: bool = True, **plan: Any) -> OverfitHistory:
        """Run the overfit test on the batches, with the training hook on.

        ``histograms``: whether to take those of gradients and weights now and then. ``plan`` are
        fields of ``OverfitPlan``; what was measured before fills in the rest.
        """
        from saldiag.experiments.overfit.learning_rate_range import range_test
        from saldiag.experiments.overfit.overfit_test import OverfitPlan, OverfitTest
        from saldiag.rules.verdicts.overfit import learns_slowly
        from saldiag_probes.training.callback import Watch

        facts = self.session.measured.get(DataFacts)
        watch = Watch(every(1), logarithmic(2) if histograms else never)
        with self.session.phase("memorising", own_display=True):
            planned = OverfitPlan(
                baselines=(facts.baselines if facts else None) or NO_BASELINES,
                no_gradient=self.no_gradient(),
                callbacks=(watch,),
                **plan,
            )
            history = OverfitTest(self.errors, planned).run()
        self.session.add(history)
        if len(history.loss):
            self.collect(watch)
        else:
            self.session.missing(
                GradientHistory, "no step was taken: nothing trainable gets a gradient"
            )
        if learns_slowly(history):
            with self.session.phase("raising the learning rate"):
                left = history.budget_seconds / 2
                self.session.attempt(RangeTest, lambda: range_test(self.errors, left))
        return history

    def no_gradient(self) -> bool:
        """Whether no trainable variable gets a gradient, but for rounding, as the survey saw it."""
        from saldiag.rules.shared.gradient_cut import no_gradient

        measured = self.session.measured
        flow = measured.get(GradientFlow)
        return flow is not None and no_gradient(flow, measured.get(Wiring))

    def look_ahead(self) -> None:
        """The plan of the training in numbers, if there is one; best after the overfit test.

        Only then are the compiled metrics built, which callbacks ask for what is better.
        """
        plan = self.plan
        if plan is None:
            self.session.missing(TrainingPlan, "what the program hands to fit is not known")
            return
        from saldiag_probes.training.fit_plan import measure_plan

        self.session.attempt(TrainingPlan, lambda: measure_plan(self.model, plan))

    def pictures(self) -> None:
        """The first few samples, with what the model says of them in inference mode."""
        self.session.attempt(Predictions, self._pictures)

    def _pictures(self) -> Predictions:
        low, high = self.data.pixels or (0.0, 1.0)
        images, masks = (np.asarray(part[:MAX_PICTURES]) for part in self.data.batches[0][:2])
        predicted = np.asarray(self.errors.predict(training=False)[0], dtype=np.float32)
        return Predictions(
            names=self.data.names[: len(images)],
            images=(images - low) / (high - low),
            targets=masks,
            predictions=predicted[:MAX_PICTURES],
        )

    def collect(self, watch: Any) -> GradientHistory | None:
        """Take over what the training hook measured."""
        if watch.failed:
            self.session.missing(GradientHistory, watch.failed)
        self.session.add(*watch.measurements())
        return self.session.measured.get(GradientHistory)


def _judged_by_the_loss(facts: DataFacts, wiring: Wiring | None) -> DataFacts:
    """The facts without targets and predictions of outputs that have no loss.

    A target can stand there for nothing but its place.
    """
    unjudged = wiring.unjudged if wiring is not None else ()
    count = len(facts.predictions)

    def judged(tensors: tuple[TensorFacts, ...]) -> tuple[TensorFacts, ...]:
        if len(tensors) != count:
            return tensors  # targets of those with a loss alone
        return tuple(tensor for place, tensor in enumerate(tensors) if place not in unjudged)

    return replace(facts, targets=judged(facts.targets), predictions=judged(facts.predictions))
