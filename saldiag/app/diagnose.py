"""The commands that look at one model: overfit, gradients, dtypes, trainable."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from saldiag.app.follow import follow_batch
from saldiag.app.load import Data, Subject, load_data, load_subject
from saldiag.app.options import Options, prepare_environment
from saldiag.app.session import Session, conduct
from saldiag.core.diagnosis import Verdict
from saldiag.core.measurement import (
    Baselines,
    DataFacts,
    GradientFlow,
    GradientHistory,
    LossCheck,
    OverfitHistory,
    Predictions,
    TrainableStatus,
    Wiring,
)
from saldiag.core.schedule import every, logarithmic

if TYPE_CHECKING:
    from saldiag.experiments.modes import ModeErrors
    from saldiag.experiments.overfit import OverfitTest

PICTURES = 4
"""Predictions shown in the report."""


class Examination:
    """A session with its subject: what the commands have in common."""

    def __init__(self, session: Session, options: Options) -> None:
        self.session = session
        self.options = options
        with session.phase("reading data"):
            self.data: Data = load_data(options)
        with session.phase("building the model"):
            self.subject: Subject = load_subject(options, self.data.image_size)
        session.notes(self.subject.notes)

    @property
    def model(self) -> Any:
        """The compiled model."""
        return self.subject.model

    def survey(self, *, flow: bool = True, activations: bool = True) -> None:
        """One trace of one batch in training mode: wiring, gradient flow, dtypes, activations."""
        batch = self.data.batches[0]
        follow_batch(self.session, self.subject, batch, flow=flow, activations=activations)

    @cached_property
    def errors(self) -> ModeErrors:
        """Predictions and losses of the memorised batches, in either mode."""
        from saldiag.experiments.modes import ModeErrors

        return ModeErrors(self.model, self.data.batches)

    def look_at_data(self) -> None:
        """Facts of inputs, targets and predictions; baselines; the loss recomputed."""
        with self.session.phase("looking at data and loss"):
            self.session.attempt(DataFacts, self._data_facts)
            self.session.attempt(LossCheck, self.errors.loss_check)

    def _data_facts(self) -> DataFacts:
        from saldiag.quicksal.pipeline import INPUT_RANGE
        from saldiag_probes.data import measure_data

        predictions = iter(self.errors.predict(training=False))
        batches = self.data.batches
        return measure_data(
            self.model,
            batches,
            predictions=lambda _: next(predictions),
            expected_range=INPUT_RANGE,
            max_batches=len(batches),
        )

    def trainable(self, history: GradientHistory | None) -> None:
        """Declared and real trainability, from training steps if there were any."""
        from saldiag_probes.trainable import measure_trainable

        with self.session.phase("comparing flags with facts"):
            self.session.attempt(
                TrainableStatus,
                lambda: measure_trainable(self.model, self.data.batches[0], history),
            )

    def collect(self, watch: Any) -> GradientHistory | None:
        """Take over what the training hook measured."""
        if watch.failed:
            self.session.missing(GradientHistory, watch.failed)
        self.session.add(*watch.measurements())
        return self.session.measured.get(GradientHistory)


def no_gradient_at_all(session: Session) -> bool:
    """Whether no trainable variable gets a gradient, but for rounding: no step changes anything."""
    from saldiag.rules.cut import no_gradient

    flow = session.measured.get(GradientFlow)
    return flow is not None and no_gradient(flow, session.measured.get(Wiring))


def overfit(options: Options) -> int:
    """``saldiag overfit``: can the model memorise a few samples?"""
    return _run("overfit", options, _overfit)


def gradients(options: Options) -> int:
    """``saldiag gradients``: where does the gradient go, and does it move the weights?"""
    return _run("gradients", options, _gradients)


def dtypes(options: Options) -> int:
    """``saldiag dtypes``: which dtypes does a forward pass really use?"""
    return _run("dtypes", options, _dtypes)


def trainable(options: Options) -> int:
    """``saldiag trainable``: which variables are declared trainable, and which train?"""
    return _run("trainable", options, _trainable)


def _run(command: str, options: Options, work: Callable[[Examination], Verdict]) -> int:
    """Open a session, load the subject, work, judge, render."""
    prepare_environment()
    session = Session(
        command,
        config=options.config(),
        seed=options.seed,
        out=options.out,
        output_format=options.output_format,
        fail_on=options.fail_on,
    )
    return conduct(session, lambda: work(Examination(session, options)))


def _dtypes(examination: Examination) -> Verdict:
    examination.survey(flow=False, activations=False)
    return "not_tested"


def _trainable(examination: Examination) -> Verdict:
    examination.survey()
    examination.trainable(None)
    return "not_tested"


def _gradients(examination: Examination) -> Verdict:
    examination.survey()
    examination.look_at_data()
    examination.trainable(_few_steps(examination))
    return "not_tested"


def _few_steps(examination: Examination) -> GradientHistory | None:
    """Train ``--steps`` steps with the gradients probe on."""
    from saldiag.experiments.overfit import repeated
    from saldiag_probes.graphs import graph_as_built
    from saldiag_probes.watch import Watch

    steps = examination.options.steps
    watch = Watch(schedule=every(1), histograms=every(max(1, steps - 1)))
    if not examination.model.trainable_variables:
        examination.session.missing(GradientHistory, "the model has no trainable variables")
        return None
    with examination.session.phase(f"taking {steps} training steps"), graph_as_built():
        batches = repeated(examination.data.batches)
        examination.model.fit(
            batches, epochs=1, steps_per_epoch=steps, shuffle=False, verbose=0, callbacks=[watch]
        )
    return examination.collect(watch)


def _overfit(examination: Examination) -> Verdict:
    from saldiag.rules.verdict import verdict_of

    examination.survey()
    examination.look_at_data()
    history = _memorise(examination)
    if history.stopped == "interrupted":
        raise KeyboardInterrupt
    examination.trainable(examination.session.measured.get(GradientHistory))
    return verdict_of(history)[0]


def _memorise(examination: Examination) -> OverfitHistory:
    """Run the overfit test with the training hook on, showing loss and time left."""
    from saldiag.app.progress import overfit_progress
    from saldiag.experiments.overfit import OverfitPlan, OverfitTest
    from saldiag_probes.watch import Watch

    session, data, options = examination.session, examination.data, examination.options
    facts = session.measured.get(DataFacts)
    watch = Watch(schedule=every(1), histograms=logarithmic(2))
    with (
        session.phase("memorising", own_display=True),
        overfit_progress(session.console, options) as progress,
    ):
        plan = OverfitPlan(
            baselines=(facts.baselines if facts else None) or NO_BASELINES,
            budget_seconds=options.budget,
            max_steps=options.max_steps,
            subset_items=data.subset_items,
            image_size=data.image_size,
            no_gradient=no_gradient_at_all(session),
            validation=data.validation,
            callbacks=(watch,),
            progress=progress,
        )
        test = OverfitTest(examination.errors, plan)
        history = test.run()
    session.add(history)
    if len(history.loss):
        examination.collect(watch)
    else:
        session.missing(GradientHistory, "no step was taken: nothing trainable gets a gradient")
    if history.stopped != "interrupted":
        session.attempt(Predictions, lambda: _pictures(test, data))
    return history


NO_BASELINES = Baselines("loss", math.nan, math.nan, math.nan, "none")
"""Stands in where the loss cannot be evaluated on plain predictions."""


def _pictures(test: OverfitTest, data: Data) -> Predictions:
    """The first few memorised samples, with what the model says of them in inference mode."""
    predicted = np.asarray(test.errors.predict(training=False)[0], dtype=np.float32)
    images, masks = data.batches[0]
    return Predictions(
        names=data.names[:PICTURES],
        images=(np.asarray(images[:PICTURES]) + 1.0) / 2.0,
        targets=np.asarray(masks[:PICTURES]),
        predictions=predicted[:PICTURES],
    )
