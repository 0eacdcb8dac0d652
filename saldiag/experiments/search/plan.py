"""Which experiments run, in which order, for how many steps. Pure: it sees curves and no model.

Interventions that a finding or the user suspects come first, and none of them is dropped before it
is decided; all others are tried only if no suspected one restores learning. Every intervention gets
a short training from every seed; half of those that are still undecided get one three times as
long, and so on (successive halving: Jamieson & Talwalkar, AISTATS 2016). The first change that
restores learning ends the search, except for interventions that a more severe finding suggests: a
change that treats a symptom may work faster than one that treats its cause. Where the seed decides
whether the unchanged model learns, more seeds are trained. Where no single change restores
learning, all suspected changes are made together; if that works, they are removed again one by one
until each is needed (delta debugging: Zeller & Hildebrandt, 2002). If it does not, the most
suspected change is combined with each of the others, and so on (greedy search).
"""

from __future__ import annotations

import math
from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace

from saldiag.core.findings.hypothesis import Hypothesis
from saldiag.core.measurement import Arm
from saldiag.core.measurement.experiments import control_of
from saldiag.rules.verdicts.hypotheses import (
    LIMITS,
    hangs_on_seeds,
    judged_arm,
    learns,
    stands_still,
)

SEEDS, EXTRA_SEEDS = (0, 1, 2), (3, 4, 5, 6)
"""Seeds that each arm is trained from, and further ones where the seed decides how the control
ends."""
STEP_RUNGS = (20, 60, 180)
"""Training steps: each rung is three times the one before (eta of successive halving)."""
LAST_RUNG_FACTOR = 2
"""Steps of the last training over the longest rung, for changes that a finding suggests and that
help, but not enough. Not 3: after that many steps a model whose learning rate is ten times too low
learns without any change."""
PAIRS_PER_ROUND = 4
"""Pairs that are trained before checking whether one of them restores learning."""
MAX_COMBINED_CHANGES, MAX_GREEDY_CHANGES = 6, 3
"""Most changes that are combined: all suspected ones at once, and one by one in greedy search."""

Names = tuple[str, ...]
"""Names of interventions that are made together; empty for the control."""


@dataclass(frozen=True)
class Job:
    """One arm to train: some interventions together, from several seeds.

    The journal's file names depend on ``repr`` of this class: keep its name and fields.
    """

    names: tuple[str, ...]
    """Names of the interventions; empty for the control."""
    seeds: tuple[int, ...]
    """Seeds of the initial states."""
    steps: int
    """Training steps from each seed."""


@dataclass(frozen=True)
class Candidate:
    """An intervention that may be tried, and why it is suspected."""

    name: str
    """Name of the intervention."""
    suspected_by: tuple[str, ...] = ()
    """Rule codes of findings, and words of the user, that suggest it."""
    finding_rank: int | None = None
    """Rank of the most severe finding that suggests it, 0 for the root cause; None for none."""
    mode: str = "training"
    """The mode in which it may restore learning: ``training`` or ``inference``."""
    repairs: bool = True
    """Whether it would be a fix; False for an experiment that only tells faults apart."""
    rule_count: int = 0
    """Number of rules whose finding it can confirm."""


Round = list[Job]
Rounds = Generator[Round, dict[Names, Arm], None]
"""Yields rounds of jobs that may run in parallel; is sent their arms by names."""
Search = Generator[Round, dict[Names, Arm], bool]
"""The same; returns whether a change restores learning."""


class SearchPlan:
    """The search as a generator of rounds, with the results so far.

    Args:
        candidates: the interventions, the most suspected first.
        proven: the overfit test has shown already that the unchanged model does not learn. Then
            the control needs no longer training than the arms. Otherwise it gets the longest one
            first: a model that learns slowly has nothing to restore.
        rungs: training steps of successive halving, ascending.
    """

    def __init__(
        self,
        candidates: Sequence[Candidate],
        *,
        proven: bool = False,
        rungs: Sequence[int] = STEP_RUNGS,
    ) -> None:
        self.candidates = {candidate.name: candidate for candidate in candidates}
        """The candidates by name, in the order they were given in."""
        self.proven = proven
        self.rungs = tuple(rungs)
        self.controls: dict[int, Arm] = {}
        """Controls by their planned steps."""
        self.arms: dict[Names, Arm] = {}
        """The latest, longest training of each combination of interventions."""

    def iterate_rounds(self) -> Rounds:
        """Yield rounds until everything is decided."""
        yield from self._run_round([()], self.rungs[0] if self.proven else self.rungs[-1])
        applicable = self._applicable_names()
        suspected = [names for names in applicable if self._is_suspected(names)]
        if (yield from self._successive_halving(suspected)):
            return
        # Longer controls may have shown meanwhile that the model learns after all.
        applicable = self._applicable_names()
        others = [names for names in applicable if names not in suspected]
        # Nothing unsuspected is confirmed where the model may well learn, so it is not tried.
        known = self.proven or stands_still(self.longest_control)
        if known and (yield from self._successive_halving(others)):
            return
        if applicable and self.arms:
            yield from self._try_combinations()

    def _successive_halving(self, alive: list[Names]) -> Search:
        """Train fewer and fewer arms for longer and longer, until one restores learning."""
        # Once a change has restored learning, only those with a lower rank go on: ``best_rank`` is
        # the lowest so far.
        best_rank, restored = math.inf, False
        last = LAST_RUNG_FACTOR * self.rungs[-1]
        for steps in (*self.rungs, last):
            if steps == last:
                alive = [names for names in alive if self._is_promising(names)]
            if not alive:
                break
            # Arms are compared with a control that was trained as long.
            if steps not in self.controls:
                yield from self._run_round([()], steps)
            yield from self._run_round(alive, steps)
            unclear = [names for names in alive if self._depends_on_seeds(names)]
            if unclear:
                yield from self._run_round([(), *unclear], steps, (*SEEDS, *EXTRA_SEEDS))
            restoring = [names for names in alive if self._is_known_to_restore(names)]
            alive = self._surviving_arms(alive)
            if restoring:
                restored, best_rank = True, min(best_rank, *map(self._finding_rank, restoring))
            if restored:
                alive = [names for names in alive if self._finding_rank(names) < best_rank]
        return restored

    def _is_suspected(self, names: Names) -> bool:
        return any(self.candidates[name].suspected_by for name in names)

    def _depends_on_seeds(self, names: Names) -> bool:
        """Whether more seeds, but not more steps, could show that a suspected change helps."""
        if names not in self.arms or not self._is_suspected(names) or self.restores_learning(names):
            return False
        arm = self.arms[names]
        last = arm.planned_steps >= self.rungs[-1] or not _could_still_change(arm)
        return last and hangs_on_seeds(self._control_of(arm), arm)

    def _finding_rank(self, names: Names) -> float:
        """The lowest rank of a finding that suggests one of the changes; infinite for none."""
        ranks = [self.candidates[name].finding_rank for name in names]
        return min((rank for rank in ranks if rank is not None), default=math.inf)

    def _is_promising(self, names: Names) -> bool:
        """Whether a finding suggests the change and it helps noticeably."""
        return self._finding_rank(names) < math.inf and self._score_gain(names) > LIMITS["margin"]

    @property
    def longest_control(self) -> Arm:
        """The control with the most planned steps."""
        return self.controls[max(self.controls)]

    def _run_round(
        self, combinations: Sequence[Names], steps: int, seeds: tuple[int, ...] = SEEDS
    ) -> Rounds:
        """Yield one round of jobs and record their arms; no round without combinations."""
        jobs = [Job(names, seeds, steps) for names in combinations]
        if not jobs:
            return
        arms = yield jobs
        for job in jobs:
            if job.names in arms:
                self.record_arm(job, arms[job.names])

    def record_arm(self, job: Job, arm: Arm) -> None:
        """Record the result of a job."""
        if job.names:
            self.arms[job.names] = arm
        else:
            self.controls[job.steps] = arm

    def _applicable_names(self) -> list[Names]:
        """Candidates for the mode that fails; none where the model learns in both modes."""
        mode = "training"
        if learns(self.longest_control):
            if learns(replace(self.longest_control, mode="inference")):
                return []
            mode = "inference"
        return [
            (candidate.name,) for candidate in self.candidates.values() if candidate.mode == mode
        ]

    def restores_learning(self, names: Names) -> bool:
        """Whether these changes together are confirmed to restore learning."""
        return self._judge_arm(names).outcome == "confirmed"

    def with_suspicions(self, names: Names, arm: Arm) -> Arm:
        """The arm with the findings and words that suggest its changes."""
        suspected_by = [word for name in names for word in self.candidates[name].suspected_by]
        rank = self._finding_rank(names)
        return replace(
            arm,
            suspected_by=tuple(dict.fromkeys(suspected_by)),
            place=int(rank) if math.isfinite(rank) else None,
        )

    def _judge_arm(self, names: Names) -> Hypothesis:
        arm = self.with_suspicions(names, self.arms[names])
        return judged_arm(self._control_of(arm), arm, proven=self.proven)

    def _control_of(self, arm: Arm) -> Arm | None:
        return control_of(tuple(self.controls.values()), arm)

    def _surviving_arms(self, alive: list[Names]) -> list[Names]:
        """The better half of the arms that a longer training could decide, and all suspected."""
        undecided = [
            names for names in alive if names in self.arms and _could_still_change(self.arms[names])
        ]
        by_gain = sorted(undecided, key=lambda names: -self._score_gain(names))
        best = by_gain[: math.ceil(len(undecided) / 2)]
        return [
            names for names in undecided if names in best or self.candidates[names[0]].suspected_by
        ]

    def _score_gain(self, names: Names) -> float:
        """How much the changes raise the score over the control's; -inf where it is not finite."""
        value = self._judge_arm(names).effect
        return value if math.isfinite(value) else -math.inf

    def _try_combinations(self) -> Rounds:
        """Combine changes, where no single one was enough."""
        steps = min(self.rungs[-1], max(arm.planned_steps for arm in self.arms.values()))
        # In the order of the candidates, not of the arms: jobs of a round finish in any order.
        tried = [
            name
            for name, candidate in self.candidates.items()
            if candidate.repairs and (name,) in self.arms
        ]
        usable = [name for name in tried if self.arms[name,].reason is None]
        if not usable or not steps:
            return
        suspected = [name for name in usable if self.candidates[name].suspected_by]
        by_gain = sorted(usable, key=lambda name: -self._score_gain((name,)))
        helpful = [name for name in by_gain if self._score_gain((name,)) > LIMITS["margin"]]
        together = tuple(dict.fromkeys([*suspected, *helpful]))[:MAX_COMBINED_CHANGES]
        if len(together) > 1:
            yield from self._run_round([together], steps)
            if self._is_known_to_restore(together):
                yield from self._remove_redundant(together, steps)
                return
        # Not only usable ones: a change that did not apply alone may apply on top of another.
        others = sorted(tried, key=lambda name: -self.candidates[name].rule_count)
        yield from self._greedy_search((*suspected, *by_gain)[:1], [*helpful, *others], steps)

    def _remove_redundant(self, together: Names, steps: int) -> Rounds:
        """Remove changes one by one, as long as the remaining ones still restore learning."""
        while len(together) > 1:
            smaller = [tuple(name for name in together if name != removed) for removed in together]
            yield from self._run_round(
                [names for names in smaller if names not in self.arms], steps
            )
            sufficient = [names for names in smaller if self._is_known_to_restore(names)]
            if not sufficient:
                return
            together = sufficient[0]

    def _greedy_search(self, base: Names, addable: list[str], steps: int) -> Rounds:
        """Add to ``base`` the change that helps most, as long as one helps."""
        while len(base) < MAX_GREEDY_CHANGES:
            extended = [(*base, name) for name in dict.fromkeys(addable) if name not in base]
            untried = [names for names in extended if names not in self.arms]
            for start in range(0, len(untried), PAIRS_PER_ROUND):
                some = untried[start : start + PAIRS_PER_ROUND]
                # One seed first: the others are trained only where it learns.
                yield from self._run_round(some, steps, SEEDS[:1])
                learning = [names for names in some if self._is_known_to_learn(names)]
                yield from self._run_round(learning, steps)
                if any(self._is_known_to_restore(names) for names in some):
                    return
            known = [names for names in extended if names in self.arms]
            best = max(known, key=self._score_gain, default=base)
            # The first addition need not help: two changes may only work together.
            if best == base or (
                len(base) > 1
                and self._score_gain(best) <= self._score_gain(base) + LIMITS["margin"]
            ):
                return
            base = best

    def _is_known_to_learn(self, names: Names) -> bool:
        return names in self.arms and learns(self.arms[names])

    def _is_known_to_restore(self, names: Names) -> bool:
        return names in self.arms and self.restores_learning(names)


def _could_still_change(arm: Arm) -> bool:
    """Whether a longer training could end differently."""
    return arm.reason is None and any(curve.stopped == "steps" for curve in arm.curves)
