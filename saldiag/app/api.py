"""The Python API: ``diagnose`` a model, ``Watch`` a training, ``watch`` a custom loop."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import keras

from saldiag.app.examine.examination import Examination
from saldiag.app.examine.experiments import run_experiments
from saldiag.app.examine.uncallable import ModelUnusable, errors_as_findings
from saldiag.app.loading.compile import make_optimizer
from saldiag.app.loading.fit_arguments import first_batches
from saldiag.app.loading.subject import Batches, Subject
from saldiag.app.session.collector import Collector, error_line
from saldiag.app.session.options import ExperimentOptions
from saldiag.app.session.result import Diagnosis, diagnose_collected, parse_rule_choice
from saldiag.app.watching.initial_values import restore_attributes
from saldiag.app.watching.python_api import Watch, WatchedLoop, watch
from saldiag.core.config import listed
from saldiag.core.errors import ModelError, SaldiagError
from saldiag.core.measurement import Experiments, GradientHistory, OverfitHistory, SourceFiles
from saldiag.subject.data.fit_batches import PREVIEW_BATCHES
from saldiag.subject.program.source_snapshot import SourceSnapshot
from saldiag_probes.state.isolation import preserved_state


def diagnose(
    model: Any,
    data: Any,
    *,
    loss: Any = None,
    optimizer: Any = None,
    overfit: bool = True,
    experiments: bool = False,
    suspect: str | Sequence[str] = (),
    steps: int = 200,
    budget: float = 60.0,
    batch_size: int | None = None,
    batches: int = PREVIEW_BATCHES,
    expected_range: tuple[float, float] | None = None,
    select: str | Sequence[str] | None = None,
    ignore: str | Sequence[str] = (),
) -> Diagnosis:
    """Find out why a Keras model does not learn. The model is left unchanged, bit for bit.

    Args:
        model: a Keras model of any kind. A model that is not built yet is built here.
        data: ``(x, y)`` or ``(x, y, sample_weight)`` of arrays or tensors, or anything else that
            ``fit`` accepts: a ``tf.data.Dataset``, a ``PyDataset``, a generator (which is used up).
        loss: loss to compile with; None for the model's own.
        optimizer: optimizer to compile with; None for the model's own, or Adam if it has none.
        overfit: whether to test if the model can memorise a few batches.
        experiments: whether to run the experiments after that test: change one thing at a time,
            and see what restores learning.
        suspect: what you suspect: words, or names of rules or interventions; tried in any case.
        steps: largest number of training steps of the overfit test.
        budget: time limit in seconds, of the overfit test and of the experiments each.
        batch_size: items in a batch that arrays are split_indices into; None for Keras' default.
        batches: number of batches to examine and memorise.
        expected_range: smallest and largest input value that a pretrained part of the model
            expects; None if there is no such part.
        select: rules to apply: codes, code prefixes or names; None for all rules.
        ignore: rules to leave out, in the same form.

    Raises:
        ModelError: ``model`` is not a Keras model, or is not compiled and ``loss`` is None.
        DataError: the data cannot be read, or contains no batch.
        SaldiagError: ``select`` or ``ignore`` names a rule that does not exist, nothing tests a
            suspicion, or the model cannot be called and no rule explains why.
    """
    if not isinstance(model, keras.Model):
        raise ModelError(f"diagnose expects a Keras model, not {type(model).__name__}")
    if loss is None and not model.compiled:
        raise ModelError("the model is not compiled: compile it, or call diagnose(…, loss=…)")
    given, plan = first_batches(model, data, batch_size, batches)
    collector = Collector(parse_rule_choice(select, ignore))
    collector.try_measuring(SourceFiles, SourceSnapshot().source_files)
    with compiled_for(model, loss, optimizer):
        examination = Examination(
            collector, Subject(model, expected_range=expected_range), Batches(given), plan
        )
        try:
            with errors_as_findings(examination, "call"):
                examination.survey()
        except ModelUnusable:
            return diagnose_collected(collector, "does_not_learn")
        examination.examine_data()
        with preserved_state(model):
            able = not overfit or _can_be_trained(
                examination, budget_seconds=budget, max_steps=steps
            )
            examination.measure_training_plan()
            examination.measure_trainability(collector.measured.get(GradientHistory))
        if experiments and able:
            _run_experiments(examination, ExperimentOptions(listed(suspect), budget))
        stuck = not able or (not overfit and examination.no_gradient())
    return diagnose_collected(
        collector, "does_not_learn" if stuck else None if overfit else "not_tested"
    )


def _run_experiments(examination: Examination, options: ExperimentOptions) -> None:
    """Run the experiments; Ctrl-C ends them, and the results so far are kept."""
    session = examination.session
    before = session.judge()
    session.try_measuring(
        Experiments,
        lambda: run_experiments(examination, before.findings, options, verdict=before.verdict),
    )


def _can_be_trained(examination: Examination, **plan: Any) -> bool:
    """Run the overfit test; returns False if a rule explains why the model cannot be trained."""
    try:
        with errors_as_findings(examination, "training"):
            examination.run_overfit_test(**plan)
    except ModelUnusable as reason:
        examination.session.mark_missing(OverfitHistory, str(reason))
        return False
    except SaldiagError:
        raise
    except Exception as error:  # the diagnosis goes on without a broken probe
        examination.session.mark_missing(OverfitHistory, error_line(error))
    return True


@contextlib.contextmanager
def compiled_for(model: Any, loss: Any, optimizer: Any) -> Iterator[None]:
    """Compile the model with another loss or optimizer inside the block; None keeps its own."""
    before = dict(vars(model))
    if loss is not None or optimizer is not None:
        model.compile(
            optimizer=optimizer if optimizer is not None else make_optimizer(model, None, None),
            loss=loss if loss is not None else model.loss,
            jit_compile=False,
        )
    try:
        yield
    finally:
        restore_attributes(model, before)
        model.train_function = model.test_function = model.predict_function = None


__all__ = ["Diagnosis", "Watch", "WatchedLoop", "diagnose", "watch"]
