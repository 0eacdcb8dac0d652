"""Outcomes of hypotheses, from plain numbers."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from saldiag.core.measurement import Experiments
from saldiag.rules.verdicts.hypotheses import UNPROVEN, hypotheses, interval, judged_arm, paired
from tests.support.arms import arm, curve

CONTROL = arm([0.0, 0.05, 0.02], "control")
scores = st.floats(-2.0, 1.0)
three = st.lists(scores, min_size=3, max_size=3)
quick = settings(max_examples=25, deadline=None)


def outcome(found, control=CONTROL):
    return judged_arm(control, found).outcome


class TestConfirmed:
    def test_where_the_arm_learns_from_three_seeds_and_the_control_from_none(self):
        judged = judged_arm(CONTROL, arm([0.9, 0.95, 0.8]))
        assert judged.outcome == "confirmed"
        assert judged.seeds == judged.restored == 3
        assert judged.interval[0] <= judged.effect <= judged.interval[1]

    def test_not_from_two_seeds(self):
        assert outcome(arm([0.9, 0.95])) == "undecided"

    @quick
    @given(st.floats(0.5, 1.0), st.lists(st.floats(-2.0, 0.45), min_size=2, max_size=2))
    def test_not_where_one_of_three_seeds_learns(self, lucky, others):
        for place in range(3):
            ends = [*others[:place], lucky, *others[place:]]
            assert outcome(arm(ends)) == "undecided"

    def test_not_where_the_control_learns_too(self):
        learning = arm([0.6, 0.7, 0.6], "control")
        assert outcome(arm([0.99, 0.99, 0.99]), learning) != "confirmed"

    def test_not_where_the_difference_is_small(self):
        barely = arm([0.49, 0.48, 0.49], "control")
        assert outcome(arm([0.51, 0.52, 0.51]), barely) != "confirmed"

    def test_not_where_the_arm_says_why_it_is_no_repair(self):
        found = judged_arm(CONTROL, arm([0.9, 0.9, 0.9], if_restored="fewer items"))
        assert (found.outcome, found.reason) == ("undecided", "fewer items")

    def test_where_the_arm_always_learns_and_the_control_from_one_seed(self):
        lucky = arm([0.0, 0.9, 0.0, 0.05, 0.0], "control")
        judged = judged_arm(lucky, arm([0.9] * 5))
        assert judged.outcome == "confirmed"
        assert judged.reason == "the unchanged model learns in 1 of 5 seeds, the changed one in all"

    @pytest.mark.parametrize("lucky", [[0.0, 0.9, 0.0], [0.9, 0.9, 0.0, 0.9, 0.0]])
    def test_not_where_too_few_seeds_of_the_control_fail(self, lucky):
        assert outcome(arm([0.9] * len(lucky)), arm(lucky, "control")) == "undecided"


class TestNoDifference:
    @quick
    @given(three)
    def test_where_arm_and_control_have_the_same_curves(self, ends):
        assert outcome(arm(ends), arm(ends, "control")) in ("no difference", "undecided")
        if max(ends) < 0.5:
            assert outcome(arm(ends), arm(ends, "control")) == "no difference"

    def test_refutes_a_suspicion(self):
        suspected = replace(arm([0.0, 0.05, 0.02]), suspected_by=("too much data",))
        assert outcome(suspected) == "refuted"

    def test_from_one_seed_is_undecided(self):
        suspected = replace(arm([0.0]), suspected_by=("too much data",))
        assert outcome(suspected) == "undecided"
        assert outcome(arm([0.0])) == "undecided"

    def test_where_both_fail_and_the_arm_fails_by_more(self):
        assert outcome(arm([-5.0, -9.0, -7.0]), arm([-1.0, -1.0, -1.0], "c")) == "no difference"


class TestRefuted:
    def test_where_the_arm_improves_without_learning(self):
        assert outcome(arm([0.3, 0.35, 0.3])) == "refuted"

    def test_where_the_arm_ends_non_finite(self):
        broken = arm([math.nan] * 3)
        assert outcome(broken) in ("no difference", "refuted")
        assert judged_arm(CONTROL, broken).effect < 0


class TestInterval:
    @quick
    @given(three, three)
    def test_is_mirrored_when_arm_and_control_are_swapped(self, before, after):
        there = interval(paired(arm(before, "control"), arm(after)))
        back = interval(paired(arm(after, "control"), arm(before)))
        assert there[0] == pytest.approx(-back[1], abs=1e-9)
        assert there[1] == pytest.approx(-back[0], abs=1e-9)

    @quick
    @given(three, st.permutations([0, 1, 2]))
    def test_does_not_depend_on_the_order_of_seeds(self, ends, order):
        whole = arm(ends)
        other = replace(whole, curves=tuple(whole.curves[place] for place in order))
        assert outcome(whole) == outcome(other)
        assert judged_arm(CONTROL, whole).effect == pytest.approx(judged_arm(CONTROL, other).effect)

    def test_holds_between_different_numbers_of_items(self):
        fewer = replace(arm([0.9] * 3), curves=tuple(curve(s, 0.9, items=4) for s in range(3)))
        assert outcome(fewer) == "confirmed"


class TestOrder:
    def judged(self, *arms):
        found = Experiments(controls=(CONTROL,), arms=arms, items=32, budget_seconds=1.0)
        return [h.name for h in hypotheses(found)]

    def test_an_arm_that_a_finding_suspects_comes_first(self):
        named = arm([0.8] * 3, "named", answers=("SD101",), suspected_by=("SD101",), place=3)
        assert self.judged(arm([0.99] * 3, "better"), named) == ["named", "better"]

    def test_the_root_cause_comes_before_a_symptom(self):
        cause, symptom = arm([0.8] * 3, "cause", place=0), arm([0.99] * 3, "symptom", place=1)
        assert self.judged(symptom, cause) == ["cause", "symptom"]

    def test_a_confirmed_arm_comes_before_all_others(self):
        arms = [arm([0.0] * 3, "none"), arm([0.9] * 3, "good"), arm([0.3] * 3, "half")]
        assert self.judged(*arms) == ["good", "half", "none"]

    def test_one_change_comes_before_two(self):
        two = arm([0.99] * 3, "a + b", parts=("a", "b"))
        assert self.judged(two, arm([0.9] * 3, "a")) == ["a", "a + b"]


class TestFlatControl:
    CONTROL = arm([0.62, 0.5, 0.63], "control")

    @staticmethod
    def flat(control, half_way=1.0):
        curves = (replace(c, steps=(0, 10, 20), score=(0.0, half_way * c.score[-1], c.score[-1]),
                          error=(0.5, 0.2, 0.2)) for c in control.curves)  # fmt: skip
        return replace(control, curves=tuple(curves))

    def judged(self, ends, control=CONTROL, **known):
        return judged_arm(self.flat(control), arm(ends, **known)).outcome

    def test_confirms_an_arm_that_a_finding_suspects(self):
        assert self.judged([0.95, 0.93, 0.97], suspected_by=("SD706",)) == "confirmed"

    def test_does_not_confirm_an_unsuspected_arm(self):
        assert self.judged([0.95, 0.93, 0.97]) != "confirmed"

    def test_does_not_confirm_an_arm_that_falls_short_in_one_seed(self):
        assert self.judged([0.95, 0.85, 0.97], suspected_by=("SD706",)) != "confirmed"

    def test_confirms_nothing_where_the_control_nearly_learns(self):
        well = arm([0.62, 0.5, 0.8], "control")
        assert self.judged([0.95, 0.93, 0.97], well, suspected_by=("SD706",)) != "confirmed"

    def test_confirms_nothing_where_the_control_still_rises(self):
        rising = self.flat(self.CONTROL, half_way=0.8)
        found = judged_arm(rising, arm([0.95, 0.93, 0.97], suspected_by=("SD706",)))
        assert found.outcome != "confirmed"


class TestRisingControl:
    """It learns as it is, if slowly: only what a finding names is a fault."""

    @staticmethod
    def judged_against(control, **known):
        return judged_arm(control, arm([0.9, 0.9, 0.9], **known)).outcome

    @staticmethod
    def rising():
        found = arm([0.4, 0.4, 0.4], "control")
        curves = tuple(
            replace(c, steps=(0, 10, 20), score=(0.0, 0.2, 0.4), error=(0.5, 0.4, 0.3))
            for c in found.curves
        )
        return replace(found, curves=curves)

    def test_leaves_an_unsuspected_arm_undecided(self):
        assert self.judged_against(self.rising()) == "undecided"

    def test_confirms_an_arm_that_a_finding_suspects(self):
        assert self.judged_against(self.rising(), suspected_by=("SD803",)) == "confirmed"

    def test_a_flat_control_confirms_an_unsuspected_arm(self):
        flat = replace(self.rising(), curves=tuple(
            replace(c, score=(0.0, 0.38, 0.4)) for c in self.rising().curves))  # fmt: skip
        assert self.judged_against(flat) == "confirmed"


class TestWithoutProvenFault:
    """A critic's predictions are not after the targets: to reproduce them better is no repair."""

    @staticmethod
    def judged_against(control, **known):
        return judged_arm(control, arm([0.9, 0.9, 0.9], **known), proven=False)

    def test_an_unsuspected_arm_is_undecided(self):
        found = self.judged_against(arm([0.0, 0.0, 0.0], "control"))
        assert (found.outcome, found.reason) == ("undecided", UNPROVEN)

    def test_a_suspected_arm_is_confirmed(self):
        control = arm([0.0, 0.0, 0.0], "control")
        assert self.judged_against(control, suspected_by=("my words",)).outcome == "confirmed"

    @pytest.mark.parametrize("stopped", ["nothing moves", "non-finite", "fails"])
    def test_an_arm_is_confirmed_where_the_control_stops_early(self, stopped):
        flat = arm([0.0, 0.0, 0.0], "control")
        curves = tuple(replace(c, stopped=stopped) for c in flat.curves)
        assert self.judged_against(replace(flat, curves=curves)).outcome == "confirmed"
