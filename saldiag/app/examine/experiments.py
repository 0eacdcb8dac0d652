"""Experiments of a command: from what was found and what is suspected to what is proven."""

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

STARTS = "starts.npz"
"""All weights before the first step: every process starts from the same ones."""


@dataclass(frozen=True)
class RebuiltSubject:
    """Rebuilds a command's subject in another process, with the weights of the first."""

    request: Request
    """What the command is asked to do."""
    wiring: Wiring | None
    """How the layers are connected; None if the model could not be traced."""
    starts: Path
    """File with the model's variables before training."""

    def __call__(self) -> Lab:
        """Build it.

        Raises:
            SaldiagError: it is another model now.
        """
        from saldiag.app.session.collector import Collector
        from saldiag.app.session.options import prepare_environment
        from saldiag.app.subject.load import load_subject
        from saldiag.experiments.search.lab import Lab

        prepare_environment()
        subject, data = load_subject(self.request, Collector())
        load_starts(subject.model, self.starts)
        return Lab(subject.model, data.batches, self.wiring)


def save_starts(model: Any, path: Path) -> None:
    """Write all variables of a model, in order."""
    values = {f"{i:05d}": np.asarray(v.value) for i, v in enumerate(model.variables)}
    with atomic_file(path, "wb") as stream:
        np.savez(stream, allow_pickle=False, **values)


def load_starts(model: Any, path: Path) -> None:
    """Give a model the variables that were written.

    Raises:
        ModelError: they are those of another model.
    """
    with path.open("rb") as stream, np.load(stream, allow_pickle=False) as loaded:
        values = [loaded[name] for name in sorted(loaded.files)]
    variables = model.variables
    shapes = [tuple(variable.shape) for variable in variables]
    if shapes != [value.shape for value in values]:
        raise ModelError("the model is not built the same twice: experiments need --jobs 1")
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)


def experiment(
    examination: Examination,
    findings: tuple[Finding, ...],
    wishes: ExperimentOptions,
    *,
    verdict: Verdict,
    make: Callable[[], Lab] | None = None,
    folder: Path | None = None,
    console: Console | None = None,
) -> None:
    """Make the experiments on the examined model, which is at its start and is left there.

    The session has what was found then, or the reason why the model cannot be experimented on.

    Args:
        examination: whose model, batches and measurements they are about.
        findings: what is suspected.
        wishes: what is asked of them.
        verdict: of the overfit test.
        make: builds the lab in other processes; None where that cannot be done.
        folder: where what came of each arm is kept, and found again.
        console: where progress is shown.

    Raises:
        KeyboardInterrupt: Ctrl-C ended them; what was decided is kept.
    """
    from saldiag.experiments.search.journal import Journal
    from saldiag.experiments.search.lab import Lab
    from saldiag.experiments.search.plan import Plan
    from saldiag.experiments.search.runner import Conductor
    from saldiag.experiments.search.score import CannotScore
    from saldiag.experiments.search.suspicion import ideas
    from saldiag.experiments.search.workers import workers_of

    session, model = examination.session, examination.model
    lab = Lab(model, examination.data.batches, session.measured.get(Wiring))
    suspicions = wishes.interventions()
    if not wishes.elsewhere:
        make = lambda: lab  # noqa: E731 - in this process it is here already
    elif make is None:
        raise SaldiagError("--jobs and --ray need a model that can be built again: saldiag prove")
    plan = Plan(ideas(findings, suspicions), proven=verdict == "does_not_learn")
    with _display(console, wishes) as display:
        lab.tell = display.step
        try:
            with workers_of(make, wishes.jobs, wishes.ray, debug=wishes.debug) as workers:
                found = Conductor(
                    plan, workers, lab.items, wishes.budget, suspicions,
                    Journal(folder), display.decided, display.waiting,
                ).run()  # fmt: skip
        except CannotScore as error:
            session.missing(Experiments, str(error))
            return
    if found.ended == "interrupted":
        session.add(found)
        raise KeyboardInterrupt
    session.add(replace(found, looks=_looks(lab)))


def _looks(lab: Lab) -> tuple[LayerLook, ...]:
    """What each layer knows of the targets; nothing where that cannot be measured."""
    from saldiag.experiments.search.linear_probes import look

    try:
        return look(lab)
    except Exception:  # a look more must not cost what is proven
        return ()


class _Display:
    """What is running, what is decided, and the time left; on a terminal."""

    def __init__(self, console: Console | None, wishes: ExperimentOptions) -> None:
        from rich.progress import BarColumn, Progress, TextColumn

        self._until = time.monotonic() + wishes.budget
        self._wishes = wishes
        self._decided, self._now = "nothing decided yet", ""
        self.bar = Progress(
            TextColumn("experiments"),
            BarColumn(bar_width=16),
            TextColumn("{task.fields[left]} left  {task.fields[done]}  {task.fields[now]}"),
            console=console,
            transient=True,
            disable=console is None or not console.is_terminal,
        )
        self._task = self.bar.add_task("", total=wishes.budget, left="", done="", now="")

    def step(self, name: str, seed: int, step: int) -> None:
        """An arm is at that step."""
        self._show(f"{name}, seed {seed}, step {step}")

    def waiting(self, jobs: Sequence[Job]) -> None:
        """These are not done; other processes are at the first, and do not tell their steps."""
        if not self._wishes.elsewhere:
            return
        at, later = jobs[: self._wishes.jobs], len(jobs) - self._wishes.jobs
        told = ", ".join(" + ".join(job.names) or "control" for job in at)
        self._show(f"{told}{f' and {later} more' if later > 0 else ''}")

    def decided(self, found: Experiments) -> None:
        """A job came to its end."""
        if self.bar.disable:
            return
        from saldiag.rules.verdicts.hypotheses import hypotheses

        outcomes = [h.outcome for h in hypotheses(found)]
        counts = (
            (name, outcomes.count(name)) for name in ("confirmed", "refuted", "no difference")
        )
        told = ", ".join(f"{count} {name}" for name, count in counts if count)
        self._decided = told or "nothing decided yet"
        self._show(self._now)

    def _show(self, now: str) -> None:
        from saldiag.app.session.progress import clock

        self._now = now
        left = max(0.0, self._until - time.monotonic())
        self.bar.update(
            self._task, completed=self._wishes.budget - left, left=clock(left),
            done=self._decided, now=now,
        )  # fmt: skip


@contextlib.contextmanager
def _display(console: Console | None, wishes: ExperimentOptions) -> Iterator[_Display]:
    display = _Display(console, wishes)
    with display.bar:
        yield display


def check_resumed(out: Path, options: Options) -> None:
    """Refuse to go on with experiments on something else.

    Raises:
        RunError: there is no run at ``out``, or an option differs that decides what is trained.
    """
    before, now = Run.open(out).read_info().config, jsonable(options.config())
    free = {"out", "output_format", "fail_on", "experiments", "rules"}
    for key in sorted((set(before) | set(now)) - free):
        if before.get(key) != now.get(key):
            raise RunError(
                f"{out}: made with {key.replace('_', '-')} {before.get(key)}, not {now.get(key)}:"
                " experiments go on with the same options, or in another --out"
            )
