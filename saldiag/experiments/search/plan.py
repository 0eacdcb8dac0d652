"""Which experiments are made, in which order, for how long. Pure: it sees curves and no model.

What a finding or the user suspects comes first, and is not dropped before it is decided; all else
is only tried where that restores nothing. The hypotheses get a short training from every seed; half
of those that are not decided by then get one three times as long, and so on (successive halving:
Jamieson & Talwalkar, AISTATS 2016). That a change restores learning ends the search, but for what
a graver finding names: a remedy of a symptom may be quicker than that of its cause. Where luck
decides whether the model learns as it is, more seeds are trained. Where no single change restores
learning, all that are suspected are made together; if that does, parts are taken out again one by
one until each is needed (delta debugging: Zeller & Hildebrandt, 2002). If it does not, what is
suspected most is tried with each of the others, and so on (greedy search).
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

SEEDS, MORE_SEEDS = (0, 1, 2), (3, 4, 5, 6)
"""Trainings of each arm, and those on top where luck has a part in how the control ends."""
RUNGS = (20, 60, 180)
"""Steps of training: each rung three times the one before (eta of successive halving)."""
ONCE_MORE = 2
"""How much longer the last training is, of what a finding names and what helps already, if not
enough. Not three times: by then a model whose rate is a decade too low would learn as it is."""
AT_ONCE = 4
"""Pairs that are tried before it is asked whether one of them is enough."""
MOST_TOGETHER, MOST_GREEDY = 6, 3
"""Changes that are tried together at the most: at once, and by adding one to another."""


@dataclass(frozen=True)
class Job:
    """Train with the interventions of those names (none: the control) from each of the seeds."""

    names: tuple[str, ...]
    seeds: tuple[int, ...]
    steps: int


@dataclass(frozen=True)
class Idea:
    """A hypothesis to try, and what made it suspected.

    ``place`` is that of the gravest finding that names it, 0 the root cause. Whether it would
    repair the model, and how many kinds of faults it ``mends``.
    """

    name: str
    suspected_by: tuple[str, ...] = ()
    place: int | None = None
    mode: str = "training"
    repairs: bool = True
    mends: int = 0


Round = list[Job]
Rounds = Generator[Round, dict[tuple[str, ...], Arm], None]
"""Yields rounds of jobs that may run side by side, and is sent what came of them."""
Search = Generator[Round, dict[tuple[str, ...], Arm], bool]
"""The same, and tells in the end whether learning is restored."""


class Plan:
    """The state of the experiments: what is known of each arm.

    ``proven``: that the model as it is does not learn is known already, so the control needs no
    longer training than the arms. Otherwise it gets the longest first: a model that learns, if
    slowly, has nothing to restore.
    """

    def __init__(
        self, ideas: Sequence[Idea], *, proven: bool = False, rungs: Sequence[int] = RUNGS
    ) -> None:
        self.ideas = {idea.name: idea for idea in ideas}
        self.proven = proven
        self.rungs = tuple(rungs)
        self.controls: dict[int, Arm] = {}
        self.arms: dict[tuple[str, ...], Arm] = {}

    def rounds(self) -> Rounds:
        """The rounds; ends when all is decided."""
        yield from self._round([()], self.rungs[0] if self.proven else self.rungs[-1])
        worth = self._worth_trying()
        suspected = [names for names in worth if self._is_suspected(names)]
        if (yield from self._halving(suspected)):
            return
        worth = self._worth_trying()
        others = [names for names in worth if names not in suspected]
        # Of what nobody suspects nothing is confirmed where the model may well learn.
        known = self.proven or stands_still(self.control)
        if known and (yield from self._halving(others)):
            return
        if worth and self.arms:
            yield from self._together()

    def _halving(self, alive: list[tuple[str, ...]]) -> Search:
        """Longer and longer trainings of fewer and fewer arms, until one restores learning."""
        bar, restored = math.inf, False
        last = ONCE_MORE * self.rungs[-1]
        for steps in (*self.rungs, last):
            if steps == last:
                alive = [names for names in alive if self._is_promising(names)]
            if not alive:
                break
            if steps not in self.controls:
                yield from self._round([()], steps)
            yield from self._round(alive, steps)
            unclear = [names for names in alive if self._hangs_on_seeds(names)]
            if unclear:
                yield from self._round([(), *unclear], steps, (*SEEDS, *MORE_SEEDS))
            restoring = [names for names in alive if self._found_to_restore(names)]
            alive = self._kept(alive)
            if restoring:
                restored, bar = True, min(bar, *map(self._place, restoring))
            if restored:
                alive = [names for names in alive if self._place(names) < bar]
        return restored

    def _is_suspected(self, names: tuple[str, ...]) -> bool:
        return any(self.ideas[name].suspected_by for name in names)

    def _hangs_on_seeds(self, names: tuple[str, ...]) -> bool:
        """Whether more of them could tell that a suspected change helps, and more steps not."""
        if names not in self.arms or not self._is_suspected(names) or self.restores(names):
            return False
        arm = self.arms[names]
        last = arm.planned_steps >= self.rungs[-1] or not _is_open(arm)
        return last and hangs_on_seeds(self._control_of(arm), arm)

    def _place(self, names: tuple[str, ...]) -> float:
        places = [self.ideas[name].place for name in names]
        return min((place for place in places if place is not None), default=math.inf)

    def _is_promising(self, names: tuple[str, ...]) -> bool:
        return self._place(names) < math.inf and self._gain(names) > LIMITS["margin"]

    @property
    def control(self) -> Arm:
        """The control with the longest training."""
        return self.controls[max(self.controls)]

    def _round(
        self, names: Sequence[tuple[str, ...]], steps: int, seeds: tuple[int, ...] = SEEDS
    ) -> Rounds:
        jobs = [Job(each, seeds, steps) for each in names]
        if not jobs:
            return
        found = yield jobs
        for job in jobs:
            if job.names in found:
                self.keep(job, found[job.names])

    def keep(self, job: Job, arm: Arm) -> None:
        """Take note of what came of a job."""
        if job.names:
            self.arms[job.names] = arm
        else:
            self.controls[job.steps] = arm

    def _worth_trying(self) -> list[tuple[str, ...]]:
        """What there is to restore: nothing, where the model learns in both modes."""
        mode = "training"
        if learns(self.control):
            if learns(replace(self.control, mode="inference")):
                return []
            mode = "inference"
        return [(idea.name,) for idea in self.ideas.values() if idea.mode == mode]

    def restores(self, names: tuple[str, ...]) -> bool:
        """Whether learning is restored by those changes together."""
        return self._judged(names).outcome == "confirmed"

    def suspected(self, names: tuple[str, ...], arm: Arm) -> Arm:
        """The arm with what made its changes suspected."""
        by = [word for name in names for word in self.ideas[name].suspected_by]
        place = self._place(names)
        return replace(
            arm,
            suspected_by=tuple(dict.fromkeys(by)),
            place=int(place) if math.isfinite(place) else None,
        )

    def _judged(self, names: tuple[str, ...]) -> Hypothesis:
        arm = self.suspected(names, self.arms[names])
        return judged_arm(self._control_of(arm), arm, proven=self.proven)

    def _control_of(self, arm: Arm) -> Arm | None:
        return control_of(tuple(self.controls.values()), arm)

    def _kept(self, alive: list[tuple[str, ...]]) -> list[tuple[str, ...]]:
        """Half of the arms that a longer training could decide, and all that are suspected."""
        still = [names for names in alive if names in self.arms and _is_open(self.arms[names])]
        best = sorted(still, key=lambda names: -self._gain(names))[: math.ceil(len(still) / 2)]
        return [n for n in still if n in best or self.ideas[n[0]].suspected_by]

    def _gain(self, names: tuple[str, ...]) -> float:
        value = self._judged(names).effect
        return value if math.isfinite(value) else -math.inf

    def _together(self) -> Rounds:
        """Several changes, where no single one was enough."""
        steps = min(self.rungs[-1], max(arm.planned_steps for arm in self.arms.values()))
        # In the order of the ideas: that in which jobs came back may be another one each time.
        tried = [n for n, idea in self.ideas.items() if idea.repairs and (n,) in self.arms]
        usable = [name for name in tried if self.arms[name,].reason is None]
        if not usable or not steps:
            return
        suspected = [n for n in usable if self.ideas[n].suspected_by]
        by_gain = sorted(usable, key=lambda name: -self._gain((name,)))
        helpful = [n for n in by_gain if self._gain((n,)) > LIMITS["margin"]]
        together = tuple(dict.fromkeys([*suspected, *helpful]))[:MOST_TOGETHER]
        if len(together) > 1:
            yield from self._round([together], steps)
            if self._found_to_restore(together):
                yield from self._without_spares(together, steps)
                return
        # What has nothing to change by itself can have on top of another change.
        others = sorted(tried, key=lambda name: -self.ideas[name].mends)
        yield from self._one_by_one((*suspected, *by_gain)[:1], [*helpful, *others], steps)

    def _without_spares(self, together: tuple[str, ...], steps: int) -> Rounds:
        """Take out what is not needed."""
        while len(together) > 1:
            fewer = [tuple(n for n in together if n != out) for out in together]
            yield from self._round([names for names in fewer if names not in self.arms], steps)
            enough = [names for names in fewer if self._found_to_restore(names)]
            if not enough:
                return
            together = enough[0]

    def _one_by_one(self, base: tuple[str, ...], usable: list[str], steps: int) -> Rounds:
        """Greedy search: to what is suspected most, add what helps most, as long as it helps."""
        while len(base) < MOST_GREEDY:
            tried = [(*base, name) for name in dict.fromkeys(usable) if name not in base]
            untried = [names for names in tried if names not in self.arms]
            for start in range(0, len(untried), AT_ONCE):
                some = untried[start : start + AT_ONCE]
                yield from self._round(some, steps, SEEDS[:1])
                yield from self._round([n for n in some if self._helps_once(n)], steps)
                if any(self._found_to_restore(names) for names in some):
                    return
            known = [names for names in tried if names in self.arms]
            best = max(known, key=self._gain, default=base)
            if best == base or (
                len(base) > 1 and self._gain(best) <= self._gain(base) + LIMITS["margin"]
            ):
                return
            base = best

    def _helps_once(self, names: tuple[str, ...]) -> bool:
        """Whether it is worth to train from the other seeds, too."""
        return names in self.arms and learns(self.arms[names])

    def _found_to_restore(self, names: tuple[str, ...]) -> bool:
        return names in self.arms and self.restores(names)


def _is_open(arm: Arm) -> bool:
    """Whether a longer training could show anything else."""
    return arm.reason is None and any(curve.stopped == "steps" for curve in arm.curves)
