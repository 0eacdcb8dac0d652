"""The experiments of a command: from findings and suspicions to tested hypotheses."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.console import Console

from saldiag.app.examine.examination import Examination
from saldiag.app.session.options import ExperimentOptions, Options
from saldiag.app.session.request import Request
from saldiag.core.errors import ModelError, RunError, SaldiagError
from saldiag.core.files.jsonio import atomic_file, jsonable
from saldiag.core.files.run import Run
from saldiag.core.findings.diagnosis import Verdict
from saldiag.core.findings.finding import Finding
from saldiag.core.measurement import Experiments, Wiring
from saldiag.core.measurement.experiments import LayerLook

if TYPE_CHECKING:
    from saldiag.experiments.search.lab import Lab
    from saldiag.experiments.search.plan import Job

INITIAL_STATE_FILE = "starts.npz"
"""File with all weights before the first step, from which every process starts."""


@dataclass(frozen=True)
class RebuiltSubject:
    """Rebuilds a command's subject in another process, with the weights of the first."""

    request: Request
    """The request of the command: options, model and data."""
    wiring: Wiring | None
    """How the layers are connected; None if the model could not be traced."""
    starts: Path
    """File with the model's variables before training."""

    def __call__(self) -> Lab:
        """Build the lab.

        Raises:
            SaldiagError: the model is built differently now.
        """
        from saldiag.app.loading.load import load_subject
        from saldiag.app.session.collector import Collector
        from saldiag.app.session.options import prepare_environment
        from saldiag.experiments.search.lab import Lab

        prepare_environment(quiet=True)
        subject, data = load_subject(self.request, Collector())
        load_initial_state(subject.model, self.starts)
        return Lab(subject.model, data.batches, self.wiring)


def save_initial_state(model: Any, path: Path) -> None:
    """Write the values of all variables of a model, in order."""
    values = {f"{i:05d}": np.asarray(v.value) for i, v in enumerate(model.variables)}
    with atomic_file(path, "wb") as stream:
        np.savez(stream, allow_pickle=False, **values)


def load_initial_state(model: Any, path: Path) -> None:
    """Assign the values that ``save_initial_state`` has written.

    Raises:
        ModelError: they belong to another model.
    """
    with path.open("rb") as stream, np.load(stream, allow_pickle=False) as loaded:
        values = [loaded[name] for name in sorted(loaded.files)]
    variables = model.variables
    shapes = [tuple(variable.shape) for variable in variables]
    if shapes != [value.shape for value in values]:
        raise ModelError("the model is built differently each time: experiments need --jobs 1")
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)


def run_experiments(
    examination: Examination,
    findings: tuple[Finding, ...],
    options: ExperimentOptions,
    *,
    verdict: Verdict,
    make: Callable[[], Lab] | None = None,
    folder: Path | None = None,
    console: Console | None = None,
) -> None:
    """Run the experiments on the examined model, which is left in its initial state.

    Adds the results to the session, or the reason why experiments are not possible.

    Args:
        examination: the model with its batches and measurements.
        findings: findings that suggest interventions.
        options: options of the experiments.
        verdict: verdict of the overfit test.
        make: builds the lab in other processes; None if that is not possible.
        folder: folder of the journal; None keeps it in memory.
        console: where progress is shown; None for nowhere.

    Raises:
        SaldiagError: ``options`` need other processes and ``make`` is None.
        KeyboardInterrupt: Ctrl-C ended the experiments; the results so far are in the session.
    """
    from saldiag.experiments.search.journal import Journal
    from saldiag.experiments.search.lab import Lab
    from saldiag.experiments.search.plan import SearchPlan
    from saldiag.experiments.search.runner import SearchRunner
    from saldiag.experiments.search.score import CannotScore
    from saldiag.experiments.search.suspicion import ranked_candidates
    from saldiag.experiments.search.workers import open_workers

    session, model = examination.session, examination.model
    if reason := session.measured.changing_loss:
        session.mark_missing(Experiments, reason)
        return
    lab = Lab(model, examination.data.batches, session.measured.get(Wiring))
    suspicions = options.suspected_interventions()
    if not options.uses_workers:
        make = lambda: lab  # noqa: E731 - this process has the lab already
    elif make is None:
        raise SaldiagError(
            "--jobs and --ray need a model that can be built again: use saldiag prove"
        )
    plan = SearchPlan(ranked_candidates(findings, suspicions), proven=verdict == "does_not_learn")
    with _open_display(console, options) as display:
        lab.report_step = display.show_step
        try:
            with open_workers(make, options.jobs, options.ray, debug=options.debug) as workers:
                found = SearchRunner(
                    plan, workers, lab.items, options.budget, suspicions,
                    Journal(folder), display.on_result, display.on_queue,
                ).run()  # fmt: skip
        except CannotScore as error:
            session.mark_missing(Experiments, str(error))
            return
    if found.ended == "interrupted":
        session.add(found)
        raise KeyboardInterrupt
    session.add(replace(found, looks=_layer_looks(lab)))


def _layer_looks(lab: Lab) -> tuple[LayerLook, ...]:
    """How well each layer predicts the targets; empty if that cannot be measured."""
    from saldiag.experiments.search.linear_probes import probe_layers

    try:
        return probe_layers(lab)
    except Exception:  # the probes are an extra: the experiments' results must not be lost
        return ()


class _ExperimentsDisplay:
    """Shows the running trainings, the outcomes so far and the time left, on a terminal."""

    def __init__(self, console: Console | None, options: ExperimentOptions) -> None:
        from rich.progress import BarColumn, TextColumn

        from saldiag.progress import transient_bar

        self._until = time.monotonic() + options.budget
        self._options = options
        self._outcomes, self._running = "no result yet", ""
        self.bar = transient_bar(
            console,
            TextColumn("experiments"),
            BarColumn(bar_width=16),
            TextColumn("{task.fields[left]} left  {task.fields[done]}  {task.fields[now]}"),
        )
        self._task = self.bar.add_task("", total=options.budget, left="", done="", now="")

    def show_step(self, name: str, seed: int, step: int) -> None:
        """Show the step that an arm has reached."""
        self._update_bar(f"{name}, seed {seed}, step {step}")

    def on_queue(self, jobs: Sequence[Job]) -> None:
        """Show the unfinished jobs: other processes run the first ones and report no steps."""
        if not self._options.uses_workers:
            return
        running, waiting = jobs[: self._options.jobs], len(jobs) - self._options.jobs
        names = ", ".join(" + ".join(job.names) or "control" for job in running)
        self._update_bar(f"{names}{f' and {waiting} more' if waiting > 0 else ''}")

    def on_result(self, found: Experiments) -> None:
        """Count the outcomes after a job has finished."""
        if self.bar.disable:
            return
        from saldiag.rules.verdicts.hypotheses import hypotheses

        outcomes = [h.outcome for h in hypotheses(found)]
        counts = (
            (name, outcomes.count(name)) for name in ("confirmed", "refuted", "no difference")
        )
        summary = ", ".join(f"{count} {name}" for name, count in counts if count)
        self._outcomes = summary or "no result yet"
        self._update_bar(self._running)

    def _update_bar(self, running: str) -> None:
        from saldiag.progress import format_clock

        self._running = running
        left = max(0.0, self._until - time.monotonic())
        self.bar.update(
            self._task,
            completed=self._options.budget - left,
            left=format_clock(left),
            done=self._outcomes,
            now=running,
        )


@contextlib.contextmanager
def _open_display(
    console: Console | None, options: ExperimentOptions
) -> Iterator[_ExperimentsDisplay]:
    display = _ExperimentsDisplay(console, options)
    with display.bar:
        yield display


def check_resumed(out: Path, options: Options) -> None:
    """Check that resumed experiments have the options they were started with.

    Raises:
        RunError: there is no run at ``out``, or an option differs that influences the trainings.
    """
    before, now = Run.open(out).read_info().config, jsonable(options.config())
    free = {"out", "output_format", "fail_on", "experiments", "rules"}
    for key in sorted((set(before) | set(now)) - free):
        if before.get(key) != now.get(key):
            option = key.replace("_", "-")
            raise RunError(
                f"{out}: was run with {option} {before.get(key)}, not {now.get(key)}:"
                " resume with the same options, or choose another --out"
            )
