"""A plan carried out: budget, Ctrl-C, and going on after a kill. On made-up curves."""

from __future__ import annotations

import json
import time
from dataclasses import replace

import pytest

from saldiag.core.errors import RunError, SaldiagError
from saldiag.core.files.jsonio import dumps
from saldiag.experiments.search.journal import Journal
from saldiag.experiments.search.plan import Candidate, Job, SearchPlan
from saldiag.experiments.search.runner import SearchRunner
from saldiag.experiments.search.suspicion import interventions_for_words, ranked_candidates
from saldiag.rules.verdicts.hypotheses import hypotheses
from tests.support.arms import arm
from tests.support.findings import finding

pytestmark = pytest.mark.tensorflow  # arms are described by their interventions
NAMES = ("best-rate", "fitting-output", "float32")


def plan():
    return SearchPlan(
        [Candidate(name, ("SD101",) if "output" in name else ()) for name in NAMES], proven=True
    )


def done(job):
    name = " + ".join(job.names) or "control"
    return arm([0.9 if "float32" in job.names else 0.0] * len(job.seeds), name, job.steps)


class Workers:
    """Do jobs at once, last one first if ``backwards``; ``until`` so many are done."""

    def __init__(self, *, backwards=False, until=1000, error=None):
        self.made, self._backwards, self._until, self._error = [], backwards, until, error

    def __call__(self, jobs, deadline):
        for job in reversed(jobs) if self._backwards else jobs:
            if len(self.made) == self._until:
                if self._error:
                    raise self._error
                return
            self.made.append(job)
            yield job, done(job)


def searched(workers, **options):
    return SearchRunner(plan(), workers, 8, 60.0, **options).run()


def told(found):
    return [(h.name, h.outcome, h.reason) for h in hypotheses(found)]


class TestSearchRunner:
    def test_it_ends_when_all_is_decided(self):
        found = searched(Workers())
        assert found.ended == "decided"
        assert told(found)[0][:2] == ("float32", "confirmed")

    def test_results_do_not_depend_on_the_order_of_jobs(self):
        assert told(searched(Workers())) == told(searched(Workers(backwards=True)))

    def test_changes_not_tried_within_the_budget_are_undecided(self):
        found = searched(Workers(until=2))
        assert found.ended == "budget"
        assert ("float32", "undecided", "the budget ended before it was tried") in told(found)

    def test_ctrl_c_keeps_finished_arms(self):
        found = searched(Workers(until=2, error=KeyboardInterrupt()))
        assert found.ended == "interrupted"
        assert [a.name for a in found.arms if a.curves] == ["fitting-output"]

    def test_a_training_that_was_cut_short_is_no_evidence(self):
        def workers(jobs, deadline):
            for job in jobs:
                whole = done(job)
                curves = tuple(replace(c, stopped="budget") for c in whole.curves)
                yield job, replace(whole, curves=curves) if job.names else whole

        found = searched(workers)
        assert found.ended == "budget"
        assert all(outcome != "confirmed" for _, outcome, _ in told(found))

    def test_each_finished_job_is_reported(self):
        seen = []
        searched(Workers(), on_result=lambda found: seen.append(len(found.arms)))
        assert len(seen) >= len(NAMES)

    def test_waiting_jobs_are_reported_before_each_job(self):
        seen = []
        workers = Workers()
        searched(workers, on_queue=lambda jobs: seen.append(list(jobs)))
        begun = [jobs[0] for jobs in seen if jobs]
        assert begun == workers.made  # the first of those that wait is the one that is done next
        assert [jobs for jobs in seen if not jobs]  # and each round ends with none

    def test_the_display_lists_the_jobs_of_other_processes(self):
        import io

        from rich.console import Console

        from saldiag.app.examine.experiments import _ExperimentsDisplay
        from saldiag.app.session.options import ExperimentOptions

        console = Console(file=io.StringIO(), force_terminal=True, width=120)
        display = _ExperimentsDisplay(console, ExperimentOptions(jobs=2))
        display.on_queue([Job((name,), (0,), 20) for name in ("a", "b", "c")])
        assert display.bar.tasks[0].fields["now"] == "a, b and 1 more"
        display.on_queue([Job((), (0,), 20)])
        assert display.bar.tasks[0].fields["now"] == "control"
        alone = _ExperimentsDisplay(console, ExperimentOptions())
        alone.show_step("a", 1, 5)
        alone.on_queue([Job(("b",), (0,), 20)])
        assert alone.bar.tasks[0].fields["now"] == "a, seed 1, step 5"

    def test_a_suspicion_of_the_user_is_recorded_with_its_arm(self):
        suspected = SearchPlan([Candidate("float32", ("half precision",))], proven=True)
        found = SearchRunner(suspected, Workers(), 8, 60.0, {"half precision": ("float32",)}).run()
        assert found.arms[0].suspected_by == ("half precision",)
        assert found.suspicions == {"half precision": ("float32",)}


class TestJournal:
    def test_recorded_jobs_are_not_repeated(self, tmp_path):
        first = Workers(until=2, error=KeyboardInterrupt())
        searched(first, journal=Journal(tmp_path))
        second = Workers()
        found = searched(second, journal=Journal(tmp_path))
        assert not set(first.made) & set(second.made)
        assert told(found) == told(searched(Workers()))

    def test_a_training_that_was_cut_short_is_not_recorded(self, tmp_path):
        def cut(jobs, deadline):
            for job in jobs:
                whole = done(job)
                yield (
                    job,
                    replace(
                        whole, curves=tuple(replace(c, stopped="budget") for c in whole.curves)
                    ),
                )

        searched(cut, journal=Journal(tmp_path))
        assert list(tmp_path.iterdir()) == []

    def test_a_damaged_file_is_named(self, tmp_path):
        job = Job(("float32",), (0, 1, 2), 20)
        Journal(tmp_path).write_arm(job, done(job))
        (path,) = tmp_path.iterdir()
        path.write_text("{")
        with pytest.raises(RunError, match="cannot be read"):
            Journal(tmp_path).read_arm(job)

    def test_files_are_strict_json_and_hold_the_job(self, tmp_path):
        job = Job(("float32", "best-rate"), (0, 1, 2), 20)
        Journal(tmp_path).write_arm(job, done(job))
        (path,) = tmp_path.iterdir()
        assert json.loads(path.read_text())["job"]["names"] == ["float32", "best-rate"]
        assert dumps(Journal(tmp_path).read_arm(job)) == dumps(done(job))  # nan is not itself
        assert Journal(tmp_path).read_arm(replace(job, steps=60)) is None


class TestSuspicion:
    @pytest.mark.parametrize(
        ("words", "name"),
        [
            ("too much data", "tenth"),
            ("vanishing gradients", "scaled-loss"),
            ("the connections are wrong", "fitting-output"),
            ("the untrained expansion convolution ruins the features", "unfreeze-all"),
            ("learning rate", "best-rate"),
            ("SD101", "fitting-output"),
            ("float32", "float32"),
        ],
    )
    def test_words_rules_and_names_are_understood(self, words, name):
        assert name in interventions_for_words(words)

    def test_an_unknown_suspicion_is_refused_with_the_known_ones(self):
        with pytest.raises(SaldiagError, match="'moon phase': no experiment matches"):
            interventions_for_words("moon phase")

    def test_a_near_name_is_suggested(self):
        with pytest.raises(SaldiagError, match="did you mean float32"):
            interventions_for_words("flaot32")

    def test_candidates_of_findings_precede_those_of_the_user(self):
        suspected = finding("SD702", severity="warning")
        found = ranked_candidates([suspected], {"head": interventions_for_words("head")})
        by = [idea.suspected_by for idea in found]
        assert by[0][0] == "SD702"
        users = [index for index, words in enumerate(by) if words == ("head",)]
        rest = [index for index, words in enumerate(by) if not words]
        assert max(i for i, words in enumerate(by) if "SD702" in words) < min(users)
        assert max(users) < min(rest)

    def test_an_info_finding_suspects_nothing_beside_a_warning(self):
        note, graver = finding("SD702", severity="info"), finding("SD101", severity="warning")
        assert any("SD702" in idea.suspected_by for idea in ranked_candidates([note], {}))
        assert not any(
            "SD702" in idea.suspected_by for idea in ranked_candidates([graver, note], {})
        )


def test_wall_clock_of_a_monotonic_deadline():
    from saldiag.experiments.search.workers import _wall_clock

    assert abs(_wall_clock(time.monotonic() + 5) - (time.time() + 5)) < 0.5
