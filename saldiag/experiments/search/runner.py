"""Runs a search plan within a budget: rounds of jobs, their results, the journal."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from saldiag.core.interrupts import raise_pending, take_interrupt
from saldiag.core.measurement import Arm, Experiments
from saldiag.experiments.search.journal import Journal
from saldiag.experiments.search.lab import arm_without_results
from saldiag.experiments.search.plan import Job, Names, SearchPlan
from saldiag.rules.verdicts.hypotheses import learns

Results = Iterator[tuple[Job, Arm]]
Workers = Callable[[Sequence[Job], float], Results]
"""Runs jobs until a deadline (seconds of ``time.monotonic``) and yields results in any order; jobs
that it does not reach are left out."""


@dataclass
class SearchRunner:
    """Runs the experiments on one model."""

    plan: SearchPlan
    """Decides which jobs to run."""
    workers: Workers
    """Runs the jobs."""
    items: int
    """Number of items that the model is trained on."""
    budget_seconds: float
    """Seconds after which no job is started."""
    suspicions: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """The user's words, each with the names of the interventions that test them."""
    journal: Journal = field(default_factory=Journal)
    """Stores finished jobs; those that it holds already are not run again."""
    on_result: Callable[[Experiments], None] = lambda _: None
    """Called after each job with all results so far."""
    on_queue: Callable[[Sequence[Job]], None] = lambda _: None
    """Called with the unfinished jobs in the order they start, at the start of a round and after
    each job."""
    _ended: str = "decided"

    def run(self) -> Experiments:
        """Run the experiments; Ctrl-C ends them and keeps the results so far."""
        deadline = time.monotonic() + self.budget_seconds
        rounds = self.plan.iterate_rounds()
        try:
            jobs = next(rounds)
            while True:
                done = self._run_round(jobs, deadline)
                if len(done) < len(jobs) or _hit_budget(done.values()):
                    self._ended = "budget"
                    break
                jobs = rounds.send({job.names: arm for job, arm in done.items()})
        except StopIteration:
            pass
        except BaseException as error:
            if not take_interrupt(error):
                raise
            self._ended = "interrupted"
        return self.collect_results()

    def _run_round(self, jobs: Sequence[Job], deadline: float) -> dict[Job, Arm]:
        """Run one round, except for jobs in the journal; returns the arms that were finished."""
        done = {job: arm for job in jobs if (arm := self.journal.read_arm(job)) is not None}
        for job, arm in done.items():
            self.plan.record_arm(job, arm)
        todo = [job for job in jobs if job not in done]
        self.on_queue(todo)
        for job, arm in self.workers(todo, deadline):
            raise_pending()  # an arm that Ctrl-C broke must not be stored as one that failed
            done[job] = arm
            self.on_queue([job for job in jobs if job not in done])
            self.plan.record_arm(job, arm)
            if not _hit_budget([arm]):
                self.journal.write_arm(job, arm)
            self.on_result(self.collect_results())
        return done

    def collect_results(self) -> Experiments:
        """All results so far; interventions that were not tried are arms without curves."""
        arms, controls = self.plan.arms, self.plan.controls
        untried: dict[Names, Arm] = {
            (name,): arm_without_results((name,)) for name in self.plan.candidates
        }
        reported: dict[Names, Arm] = {**untried, **arms}
        if not arms and self._ended == "decided" and controls and learns(self.plan.longest_control):
            reported = {
                names: replace(arm, reason=ALREADY_LEARNS) for names, arm in untried.items()
            }
        return Experiments(
            controls=tuple(controls[steps] for steps in sorted(controls)),
            arms=tuple(self.plan.with_suspicions(names, arm) for names, arm in reported.items()),
            items=self.items,
            budget_seconds=self.budget_seconds,
            ended=self._ended,
            suspicions=dict(self.suspicions),
            proven=self.plan.proven,
        )


ALREADY_LEARNS = "the unchanged model learns: there is nothing to restore"
"""Reason of every arm if the control learns in both modes."""


def _hit_budget(arms: Iterable[Arm]) -> bool:
    """Whether the budget cut a training of these arms short."""
    return any(curve.stopped == "budget" for arm in arms for curve in arm.curves)
