"""Carries a plan out within a budget: rounds of jobs, what came of them, what is kept."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from saldiag.core.interrupts import raise_pending, take_interrupt
from saldiag.core.measurement import Arm, Experiments
from saldiag.experiments.search.journal import Journal
from saldiag.experiments.search.lab import described_arm
from saldiag.experiments.search.plan import Job, Plan
from saldiag.rules.verdicts.hypotheses import learns

Results = Iterator[tuple[Job, Arm]]
Workers = Callable[[Sequence[Job], float], Results]
"""Does jobs until a deadline (``time.monotonic``), in any order; those it does not come to, it
leaves out."""


@dataclass
class Conductor:
    """The experiments on one model.

    Args:
        plan: what to try.
        workers: who does it.
        items: how many items are trained on.
        budget_seconds: when to end.
        suspicions: the user's words and what they mean.
        journal: where finished jobs are kept, and found again.
        decided: called after each job with all that is known.
        waiting: called with the jobs that are not done, in the order they are begun in, when a
            round begins and after each job.
    """

    plan: Plan
    workers: Workers
    items: int
    budget_seconds: float
    suspicions: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    journal: Journal = field(default_factory=Journal)
    decided: Callable[[Experiments], None] = lambda _: None
    waiting: Callable[[Sequence[Job]], None] = lambda _: None
    _ended: str = "decided"

    def run(self) -> Experiments:
        """Make the experiments; Ctrl-C ends them and keeps what is decided."""
        deadline = time.monotonic() + self.budget_seconds
        rounds = self.plan.rounds()
        try:
            jobs = next(rounds)
            while True:
                done = self._round(jobs, deadline)
                if len(done) < len(jobs) or _cut_short(done.values()):
                    self._ended = "budget"
                    break
                jobs = rounds.send({job.names: arm for job, arm in done.items()})
        except StopIteration:
            pass
        except BaseException as error:
            if not take_interrupt(error):
                raise
            self._ended = "interrupted"
        return self.found()

    def _round(self, jobs: Sequence[Job], deadline: float) -> dict[Job, Arm]:
        done = {job: arm for job in jobs if (arm := self.journal.get(job)) is not None}
        for job, arm in done.items():
            self.plan.keep(job, arm)
        todo = [job for job in jobs if job not in done]
        self.waiting(todo)
        for job, arm in self.workers(todo, deadline):
            raise_pending()  # what it broke must not be kept as an arm that failed
            done[job] = arm
            self.waiting([job for job in jobs if job not in done])
            self.plan.keep(job, arm)
            if not _cut_short([arm]):
                self.journal.put(job, arm)
            self.decided(self.found())
        return done

    def found(self) -> Experiments:
        """All that is known so far."""
        arms, controls = self.plan.arms, self.plan.controls
        untried: dict[tuple[str, ...], Arm] = {
            (name,): described_arm((name,)) for name in self.plan.ideas
        }
        told: dict[tuple[str, ...], Arm] = {**untried, **arms}
        if not arms and self._ended == "decided" and controls and learns(self.plan.control):
            told = {key: replace(arm, reason=LEARNS) for key, arm in untried.items()}
        return Experiments(
            controls=tuple(controls[steps] for steps in sorted(controls)),
            arms=tuple(self.plan.suspected(key, arm) for key, arm in told.items()),
            items=self.items,
            budget_seconds=self.budget_seconds,
            ended=self._ended,
            suspicions=dict(self.suspicions),
            proven=self.plan.proven,
        )


LEARNS = "the model learns as it is: there is nothing to restore"


def _cut_short(arms: Iterable[Arm]) -> bool:
    return any(curve.stopped == "budget" for arm in arms for curve in arm.curves)
