"""Which experiments are made, on curves that are made up."""

from __future__ import annotations

from dataclasses import replace

from saldiag.experiments.search.plan import (
    EXTRA_SEEDS,
    LAST_RUNG_FACTOR,
    SEEDS,
    STEP_RUNGS,
    Candidate,
    SearchPlan,
)
from tests.support.arms import arm


def carried_out(plan, world):
    """Run the plan in a world that tells scores by (names, steps); the jobs of each round."""
    rounds, made = plan.iterate_rounds(), []
    try:
        jobs = next(rounds)
        while True:
            made.append(jobs)
            jobs = rounds.send({job.names: done(job, world) for job in jobs})
    except StopIteration:
        return made


def done(job, world):
    name = " + ".join(job.names) or "control"
    ends = world(frozenset(job.names), job.steps)
    each = ends if isinstance(ends, list) else [ends] * len(job.seeds)
    return arm(each[: len(job.seeds)], name, job.steps)


def plan_of(*names, suspected=(), places=None, **options):
    places = places or dict.fromkeys(suspected, 0)
    ideas = [Candidate(n, ("SD101",) if n in suspected else (), places.get(n)) for n in names]
    return SearchPlan(ideas, **options)


def confirmed(plan):
    return [names for names in plan.arms if plan.restores_learning(names)]


class TestRounds:
    def test_no_change_is_tried_where_the_control_learns(self):
        plan = plan_of("a", "b")
        made = carried_out(plan, lambda names, steps: 0.9)
        # Inference was never looked at on these curves: that it learns there is not known.
        assert [[job.names for job in jobs] for jobs in made] == [[()]]

    def test_a_cure_found_in_the_first_round_ends_them(self):
        plan = plan_of("a", "b", suspected=("a",))
        carried_out(plan, lambda names, steps: 0.9 if "a" in names else 0.0)
        assert confirmed(plan) == [("a",)]
        assert max(a.planned_steps for a in plan.arms.values()) == STEP_RUNGS[0]

    def test_a_slow_cure_gets_a_longer_training(self):
        plan = plan_of("a", "b", "c", "d", proven=True)
        carried_out(plan, lambda n, steps: min(0.9, steps / 100) if "a" in n else 0.0)
        assert confirmed(plan) == [("a",)]

    def test_unsuspected_changes_are_not_tried_where_a_suspicion_is_confirmed(self):
        plan = plan_of("a", "b", suspected=("a",), proven=True)
        carried_out(plan, lambda names, steps: 0.9 if names else 0.0)
        assert set(plan.arms) == {("a",)}

    def test_unsuspected_changes_are_tried_where_no_suspicion_is_confirmed(self):
        plan = plan_of("a", "b", suspected=("a",), proven=True)
        carried_out(plan, lambda names, steps: 0.9 if "b" in names else 0.0)
        assert confirmed(plan) == [("b",)]

    def test_every_job_is_done_from_all_starts(self):
        plan = plan_of("a", "b", "c", suspected=("a",))
        made = carried_out(plan, lambda names, steps: 0.2 if "b" in names else 0.0)
        assert {job.seeds for jobs in made for job in jobs} == {SEEDS}

    def test_the_better_half_enters_the_next_round(self):
        plan = plan_of("a", "b", "c", "d", proven=True)
        gains = {"a": 0.3, "b": 0.2, "c": 0.1, "d": 0.0}
        made = carried_out(plan, lambda n, _: gains[min(n)] if len(n) == 1 else 0.0)
        second = next(jobs for jobs in made[2:] if jobs[0].names and jobs[0].steps == STEP_RUNGS[1])
        assert {job.names[0] for job in second} == {"a", "b"}

    def test_suspicions_reach_the_last_round_whatever_they_gain(self):
        plan = plan_of("a", "b", "c", suspected=("a", "b", "c"), proven=True)
        made = carried_out(plan, lambda n, _: 0.3 if n == {"a"} else 0.0)
        last = [jobs for jobs in made if jobs[0].names and jobs[0].steps == STEP_RUNGS[-1]]
        assert {job.names[0] for job in last[0]} == {"a", "b", "c"}

    def test_the_cause_is_tried_longer_where_the_remedy_of_a_symptom_is_quicker(self):
        places = {"cause": 0, "symptom": 1}
        plan = plan_of("symptom", "cause", suspected=places, places=places, proven=True)
        carried_out(plan, lambda n, steps: 0.9 if "symptom" in n or (n and steps > 20) else 0.0)
        assert set(confirmed(plan)) == {("symptom",), ("cause",)}

    def test_a_symptom_gets_no_longer_training_where_the_cause_is_confirmed(self):
        places = {"cause": 0, "symptom": 1}
        plan = plan_of("symptom", "cause", suspected=places, places=places, proven=True)
        carried_out(plan, lambda n, steps: 0.9 if "cause" in n else 0.2 if n else 0.0)
        assert plan.arms["symptom",].planned_steps == STEP_RUNGS[0]

    def test_a_suspicion_that_helps_is_trained_longer_than_the_last_round(self):
        plan = plan_of("a", "b", "c", suspected=("a", "b"), proven=True)
        slow = {"a": STEP_RUNGS[-1] + 1, "b": 10**6, "c": 10**6}

        def world(names, steps):
            return 0.9 if any(steps >= slow[n] for n in names) else 0.3 if "a" in names else 0.0

        carried_out(plan, world)
        assert confirmed(plan) == [("a",)]
        lengths = {names[0]: arm.planned_steps for names, arm in plan.arms.items()}
        assert lengths == {"a": LAST_RUNG_FACTOR * STEP_RUNGS[-1], "b": STEP_RUNGS[-1]}

    def test_a_control_that_learns_from_one_seed_gets_more_seeds(self):
        plan = plan_of("a", "b", suspected=("a",), proven=True)
        lucky = [0.0, 0.9, *[0.0] * 5]
        carried_out(plan, lambda names, steps: 0.9 if "a" in names else lucky)
        assert confirmed(plan) == [("a",)]
        assert [curve.seed for curve in plan.longest_control.curves] == [*SEEDS, *EXTRA_SEEDS]

    def test_unsuspected_changes_are_not_tried_where_no_fault_is_proven(self):
        plan = plan_of("a", "b")
        carried_out(plan, lambda names, steps: 0.9 if names else 0.0)
        assert plan.arms == {}

    def test_nothing_is_confirmed_where_the_control_learns_in_the_longest_training(self):
        plan = plan_of("a", "b", suspected=("a",), proven=True)
        late = LAST_RUNG_FACTOR * STEP_RUNGS[-1]
        carried_out(plan, lambda n, steps: 0.9 if steps == late else 0.4 if "a" in n else 0.0)
        assert confirmed(plan) == []
        assert set(plan.arms) == {("a",)}


class TestTogether:
    def test_two_changes_that_are_both_needed_are_confirmed_together(self):
        plan = plan_of("head", "rate", "idle", suspected=("head", "rate", "idle"))
        carried_out(plan, lambda names, _: 0.9 if {"head", "rate"} <= names else 0.0)
        smallest = min(confirmed(plan), key=len)
        assert set(smallest) == {"head", "rate"}
        assert not any(len(names) == 1 for names in confirmed(plan))

    def test_nothing_is_confirmed_where_nothing_helps(self):
        plan = plan_of("a", "b", "c", suspected=("a", "b"))
        carried_out(plan, lambda names, _: 0.0)
        assert confirmed(plan) == []

    def test_a_change_that_applies_only_after_another_is_tried_on_top(self):
        plan = plan_of("head", "rate", suspected=("head",), proven=True)

        def world(names, steps):
            return 0.9 if {"head", "rate"} <= names else 0.0

        rounds = plan.iterate_rounds()
        jobs = next(rounds)
        try:
            while True:
                found = {job.names: done(job, world) for job in jobs}
                if ("rate",) in found:
                    found["rate",] = replace(found["rate",], curves=(), reason="no rate helps")
                jobs = rounds.send(found)
        except StopIteration:
            pass
        assert confirmed(plan) == [("head", "rate")]
