"""saldiag from Python: ``diagnose`` a model, ``Watch`` a training, ``watch`` your own loop."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import keras

from saldiag.app.examine.examination import Examination
from saldiag.app.examine.experiments import experiment
from saldiag.app.examine.uncallable import ModelUnusable, explaining
from saldiag.app.program.python_api import Watch, WatchedLoop, watch
from saldiag.app.session.collector import Collector, one_line
from saldiag.app.session.options import ExperimentOptions
from saldiag.app.session.result import Diagnosis, chosen_rules, judged
from saldiag.app.subject.compile import optimizer_of
from saldiag.app.subject.fit_arguments import first_batches
from saldiag.app.subject.subject import Batches, Subject
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
    """Tell why a Keras model does not learn. The model is left as it was, bit for bit.

    Args:
        model: a Keras model of any kind. One that is not built yet gets its variables here.
        data: ``(x, y)`` or ``(x, y, sample_weight)`` of arrays or tensors, or whatever else
            ``fit`` takes: a ``tf.data.Dataset``, a ``PyDataset``, a generator (which is read).
        loss: what to compile with where the model is not compiled, or in place of its own.
        optimizer: likewise; the default is ``"adam"``.
        overfit: whether to see if a few batches can be memorised.
        experiments: whether to change one thing at a time then, and to see what restores learning.
        suspect: what you suspect, in words, or names of rules or experiments.
        steps: training steps of that test at the most.
        budget: its seconds at the most, and those of the experiments.
        batch_size: items in a batch that arrays are cut into.
        batches: how many batches to look at.
        expected_range: least and largest value that a pretrained part expects of its inputs.
        select: rules that judge, by code, start of a code or name; default: all.
        ignore: rules that do not.

    Raises:
        ModelError: the model is not compiled and there is no loss.
        DataError: the data cannot be read, or holds no batch.
        SaldiagError: ``select`` or ``ignore`` names what does not exist; or the model cannot be
            called, and no rule can tell why.
    """
    if not isinstance(model, keras.Model):
        raise ModelError(f"diagnose takes a Keras model, not {type(model).__name__}")
    if loss is None and not model.compiled:
        raise ModelError("the model is not compiled: compile it, or say diagnose(…, loss=…)")
    given, plan = first_batches(model, data, batch_size, batches)
    collector = Collector(chosen_rules(select, ignore))
    collector.attempt(SourceFiles, SourceSnapshot().source_files)
    with compiled_for(model, loss, optimizer):
        examination = Examination(
            collector, Subject(model, expected_range=expected_range), Batches(given), plan
        )
        try:
            with explaining(examination, "call"):
                examination.survey()
        except ModelUnusable:
            return judged(collector, "does_not_learn")
        examination.look_at_data()
        with preserved_state(model):
            able = not overfit or _memorises(examination, budget_seconds=budget, max_steps=steps)
            examination.look_ahead()
            examination.trainable(collector.measured.get(GradientHistory))
        if experiments and able:
            _experiment(examination, ExperimentOptions(listed(suspect), budget))
        stuck = not able or (not overfit and examination.no_gradient())
    return judged(collector, "does_not_learn" if stuck else None if overfit else "not_tested")


def _experiment(examination: Examination, wishes: ExperimentOptions) -> None:
    """Make the experiments; Ctrl-C ends them, and what is decided stays."""
    session = examination.session
    before = session.judge()
    session.attempt(
        Experiments,
        lambda: experiment(examination, before.findings, wishes, verdict=before.verdict),
    )


def _memorises(examination: Examination, **plan: Any) -> bool:
    """Run the overfit test; whether the model can be trained, as far as rules can tell."""
    try:
        with explaining(examination, "training"):
            examination.memorise(**plan)
    except ModelUnusable as told:
        examination.session.missing(OverfitHistory, str(told))
        return False
    except SaldiagError:
        raise
    except Exception as error:  # a broken probe must not cost the diagnosis
        examination.session.missing(OverfitHistory, one_line(error))
    return True


@contextlib.contextmanager
def compiled_for(model: Any, loss: Any, optimizer: Any) -> Iterator[None]:
    """The model compiled with another loss or optimizer, as long as the block lasts."""
    before = dict(vars(model))
    if loss is not None or optimizer is not None:
        model.compile(
            optimizer=optimizer if optimizer is not None else optimizer_of(model, None, None),
            loss=loss if loss is not None else model.loss,
            jit_compile=False,
        )
    try:
        yield
    finally:
        now = vars(model)
        for name in [name for name in now if name not in before]:
            del now[name]
        now.update(before)
        model.train_function = model.test_function = model.predict_function = None


__all__ = ["Diagnosis", "Watch", "WatchedLoop", "diagnose", "watch"]
