"""saldiag from Python: ``diagnose`` a model, ``Watch`` a training, ``watch`` your own loop."""

from __future__ import annotations

import contextlib
import platform
import tempfile
import types
import webbrowser
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras

from saldiag.app.collector import Collector, one_line
from saldiag.app.compiling import optimizer_of
from saldiag.app.examination import Examination
from saldiag.app.experiments import experiment
from saldiag.app.fed import read_feed
from saldiag.app.judging import judge
from saldiag.app.load import Batches, Subject
from saldiag.app.options import Wishes
from saldiag.app.session import versions
from saldiag.core.config import RuleSettings, listed
from saldiag.core.diagnosis import Diagnosis as Outcome
from saldiag.core.diagnosis import RootCause, Verdict
from saldiag.core.errors import DataError, ModelError
from saldiag.core.finding import Finding, Severity, Skipped
from saldiag.core.fitting import FitPlan
from saldiag.core.measurement import (
    Experiments,
    GradientHistory,
    Measurements,
    OverfitHistory,
    SourceFiles,
    TrainableStatus,
)
from saldiag.core.run import Run, RunInfo, utc_now
from saldiag.core.schedule import Schedule
from saldiag.rules.cut import without_any_gradient
from saldiag.subject.feeding import BATCHES, feed_of
from saldiag.subject.own_files import OwnFiles
from saldiag.subject.under_fit import arguments_of_fit
from saldiag_probes import watch as probes
from saldiag_probes.undisturbed import undisturbed

if TYPE_CHECKING:
    import pandas as pd

    from saldiag_reports.data import ReportData


class Diagnosis:
    """What was found: verdict, root cause, findings, and all that was measured.

    It prints itself in a terminal, renders in a notebook, and turns into a table of pandas.
    """

    def __init__(self, outcome: Outcome, measured: Measurements, started: str = "") -> None:
        self.outcome = outcome
        self.measured = measured
        self._started = started or utc_now()

    @property
    def verdict(self) -> Verdict:
        """``learns``, ``does_not_learn``, ``inconclusive`` or ``not_tested``."""
        return self.outcome.verdict

    @property
    def findings(self) -> tuple[Finding, ...]:
        """The root cause first, then by severity."""
        return self.outcome.findings

    @property
    def root_cause(self) -> RootCause | None:
        """The finding that no other one explains; None where nothing was found."""
        return self.outcome.root_cause

    @property
    def skipped(self) -> tuple[Skipped, ...]:
        """Rules that could not judge, and why."""
        return self.outcome.skipped

    def failed(self, fail_on: Severity = "error") -> bool:
        """Whether there is a finding at or above ``fail_on``, or nothing is learnt."""
        return self.outcome.failed(fail_on)

    def __str__(self) -> str:
        from saldiag_reports.text import render_text

        return render_text(self._data()).rstrip()

    def __repr__(self) -> str:
        cause = self.root_cause.rule if self.root_cause else "nothing found"
        return f"<Diagnosis {self.outcome.subject.model!r}: {self.verdict}, {cause}>"

    def _repr_html_(self) -> str:
        """A short account for a notebook; what is user text is escaped."""
        from saldiag_reports.snippet import render_snippet

        return render_snippet(self._data())

    def to_frame(self) -> pd.DataFrame:
        """One row a finding: rule, name, severity, layers, message, fix, file, line and more."""
        import pandas as pd

        columns = ["rule", "name", "severity", "confidence", "layers", "message", "fix", "file"]
        columns += ["line", "explained_by"]
        rows = [
            {
                **{name: getattr(f, name) for name in columns if hasattr(f, name)},
                "layers": ", ".join(f.layers),
                "file": f.source.file if f.source else None,
                "line": f.source.line if f.source else None,
            }
            for f in self.findings
        ]
        return pd.DataFrame(rows, columns=columns)

    def save(self, directory: str | Path) -> Path:
        """Write a run directory with the report; returns its path.

        Raises:
            RunError: it holds a run already, or cannot be written.
        """
        from saldiag_reports.reporter import write_reports

        run = Run.create("diagnose", Path(directory))
        for measurement in self.measured:
            run.write_measurement(measurement)
        run.write_diagnosis(self.outcome)
        data = self._data()
        write_reports(data, run.path)
        run.write_info(data.info)
        return run.path

    def open(self) -> None:
        """Show the report in a browser."""
        folder = self.save(Path(tempfile.mkdtemp(prefix="saldiag-")) / "run")
        webbrowser.open((folder / "report.html").as_uri())

    def _data(self) -> ReportData:
        from saldiag_reports.data import ReportData

        info = RunInfo(
            command=("saldiag", "diagnose"),
            versions=versions() or {"python": platform.python_version()},
            seed=0,
            config={},
            status="finished",
            started=self._started,
            missing=dict(self.measured.missing),
        )
        return ReportData(diagnosis=self.outcome, measured=self.measured, info=info)


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
    batches: int = BATCHES,
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
        ModelError: the model is not compiled and there is no loss, or it cannot be called.
        DataError: the data cannot be read, or holds no batch.
        SaldiagError: ``select`` or ``ignore`` names what does not exist.
    """
    if not isinstance(model, keras.Model):
        raise ModelError(f"diagnose takes a Keras model, not {type(model).__name__}")
    if loss is None and not model.compiled:
        raise ModelError("the model is not compiled: compile it, or say diagnose(…, loss=…)")
    given, plan = _batches(data, batch_size, batches)
    collector = Collector()
    collector.attempt(SourceFiles, OwnFiles().measured)
    with compiled_for(model, loss, optimizer):
        examination = Examination(
            collector, Subject(model, expected_range=expected_range), Batches(given), plan
        )
        examination.survey()
        examination.look_at_data()
        with undisturbed(model):
            if overfit:
                collector.attempt(
                    OverfitHistory,
                    lambda: examination.memorise(budget_seconds=budget, max_steps=steps),
                )
            examination.look_ahead()
            examination.trainable(collector.measured.get(GradientHistory))
        if experiments:
            _experiment(examination, Wishes(listed(suspect), budget))
        verdict: Verdict | None = None if overfit else "not_tested"
        if not overfit and examination.no_gradient():
            verdict = "does_not_learn"
    return _diagnosed(collector, verdict, select, ignore)


def _experiment(examination: Examination, wishes: Wishes) -> None:
    """Make the experiments; Ctrl-C ends them, and what is decided stays."""
    measured = examination.session.measured
    before = judge(measured)
    found: list[Experiments | None] = []
    examination.session.attempt(
        Experiments,
        lambda: found.append(
            experiment(examination, before.findings, wishes, verdict=before.verdict)
        ),
    )
    if found and found[0] is not None and found[0].ended == "interrupted":
        raise KeyboardInterrupt


def _diagnosed(
    collector: Collector,
    verdict: Verdict | None,
    select: str | Sequence[str] | None,
    ignore: str | Sequence[str],
) -> Diagnosis:
    chosen = None if select is None else listed(select)
    settings = RuleSettings(select=chosen, ignore=listed(ignore))
    outcome = judge(collector.measured, settings, verdict=verdict, timings=collector.timings)
    return Diagnosis(outcome, collector.measured)


def _batches(
    data: Any, batch_size: int | None, batches: int
) -> tuple[tuple[tuple[Any, ...], ...], FitPlan]:
    """The first batches of what ``fit`` would take."""
    parts = data if isinstance(data, tuple) else (data,)
    arguments = dict(zip(("x", "y", "sample_weight"), parts, strict=False))
    try:
        feed = feed_of({**arguments, "batch_size": batch_size, "shuffle": False}, batches)
    except Exception as error:
        raise DataError(f"the data cannot be read: {one_line(error)}") from error
    if not feed.batches:
        raise DataError("the data holds no batch")
    return feed.batches, FitPlan(data=feed.plan.data, batch_size=batch_size)


def _of_fit(model: Any) -> tuple[tuple[tuple[Any, ...], ...], FitPlan]:
    """The first batches of what ``fit``, which is running, was given."""
    arguments = arguments_of_fit(model)
    if arguments is None or isinstance(arguments.get("x"), types.GeneratorType):
        raise DataError("what the model is trained on is not known: say Watch(data)")
    feed = read_feed(model, arguments)
    return feed.batches, feed.plan


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


class Watch(probes.Watch):
    """Measures a training under ``fit``: put it among the callbacks.

    ``diagnosis()`` tells what was found, during the training and after it. Wiring, labels and
    ranges are looked at before the first step, on the first batches of what ``fit`` was given.

    Args:
        data: what to look at instead, as ``diagnose`` takes it. A loop of one's own, and a
            generator, which can be read but once, cannot be looked into: without ``data``
            gradients and updates are all that is measured there.
        schedule: at which steps to measure, or ``economy``, ``business``, ``full``.
        select: rules that judge; default: all.
        ignore: rules that do not.

    Raises:
        ValueError: there is no schedule of that name.
    """

    def __init__(
        self,
        data: Any = None,
        schedule: str | Schedule = "economy",
        *,
        select: str | Sequence[str] | None = None,
        ignore: str | Sequence[str] = (),
    ) -> None:
        super().__init__(schedule)
        self._data, self._chosen = data, (select, ignore)
        self._collector = Collector()
        self._examination: Examination | None = None

    def attach(self, model: Any, optimizer: Any = None) -> None:
        """Look at the model, and hook into its optimizers, from the next step on."""
        if self._examination is None:
            under_fit = getattr(model, "train_function", None) is not None
            self._look(model)
            if under_fit and model.train_function is None:  # an optimizer was put back to unbuilt
                model.make_train_function()
        super().attach(model, optimizer)

    def on_train_end(self, logs: Any = None) -> None:
        """Leave the model, and compare what was declared with what happened."""
        super().on_train_end(logs)
        history = self._history()
        if self._examination is not None and self._examination.data.batches:
            self._quietly(lambda: self._examined().trainable(history))
            self._quietly(self._examined().look_ahead)

    def diagnosis(self) -> Diagnosis:
        """What the rules say of what was measured so far."""
        history = self._history()
        stuck = (self._examination is not None and self._examination.no_gradient()) or (
            history is not None and without_any_gradient(history)
        )
        return _diagnosed(
            self._collector, "does_not_learn" if stuck else "not_tested", *self._chosen
        )

    def _look(self, model: Any) -> None:
        self._collector.attempt(SourceFiles, OwnFiles().measured)
        batches, plan = self._given(model)
        self._examination = Examination(self._collector, Subject(model), Batches(batches), plan)
        if batches:
            self._quietly(self._examined().survey)
            if getattr(model, "compiled", False):
                self._quietly(self._examined().look_at_data)

    def _given(self, model: Any) -> tuple[tuple[tuple[Any, ...], ...], FitPlan | None]:
        """The first batches of the data, and the plan; none where there is nothing to look into."""
        try:
            return _of_fit(model) if self._data is None else _batches(self._data, None, BATCHES)
        except Exception as error:  # whatever the data raises: fit will tell
            self._collector.missing(TrainableStatus, one_line(error))
            return (), None

    def _examined(self) -> Examination:
        assert self._examination is not None
        return self._examination

    def _quietly(self, action: Callable[[], object]) -> None:
        try:
            action()
        except Exception as error:  # a probe must never break the training
            self._collector.missing(TrainableStatus, one_line(error))

    def _history(self) -> GradientHistory | None:
        """What was measured so far; before a model is looked at there is nothing."""
        return self._examination.collect(self) if self._examination is not None else None


@contextlib.contextmanager
def watch(
    model: Any,
    optimizer: Any = None,
    *,
    data: Any = None,
    schedule: str | Schedule = "economy",
    select: str | Sequence[str] | None = None,
    ignore: str | Sequence[str] = (),
) -> Iterator[Watch]:
    """Watch a training loop of one's own: whatever calls the optimizer's ``apply`` in the block.

    A ``tf.function`` around the training step has to be called for the first time in the block.
    Arguments are those of ``Watch``; ``optimizer`` is the model's own if None.
    """
    hook = Watch(data, schedule, select=select, ignore=ignore)
    hook.attach(model, optimizer)
    try:
        yield hook
    finally:
        hook.close()


__all__ = ["Diagnosis", "Watch", "diagnose", "watch"]
