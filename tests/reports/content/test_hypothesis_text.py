"""What experiments proved, in sentences: right in number, in order, and in the user's own words."""

from __future__ import annotations

import math

import pytest

from saldiag.core.findings.finding import Finding
from saldiag.core.findings.hypothesis import CHANGES_NOTHING, Hypothesis
from saldiag.core.measurement import Arm, Curve, Experiments
from saldiag_reports.content.hypothesis_text import (
    confirmation_text,
    effect_with_interval,
    hypothesis_sentences,
    joined_names,
)
from tests.support import hostile_report as hostile

NUMBERS = {"seeds": 3, "steps": 40, "score": (0.0, 0.97), "interval": (0.95, 0.99)}


def confirmed(name, told, parts=(), **more):
    values = {**NUMBERS, "restored": 3, "error": (0.7913, 0.0204), "effect": 0.97, **more}
    reason = "learning is restored in 3 of 3 seeds"
    return Hypothesis(name, f"{name}?", told, "confirmed", reason, parts=parts, **values)


def same(name, told, outcome="no difference", parts=(), **more):
    values = {"error": (0.79, 0.79), "effect": -0.0001, "interval": (-0.001, 0.0), **more}
    return Hypothesis(
        name, f"{name}?", told, outcome, CHANGES_NOTHING, parts=parts, seeds=3, steps=40,
        score=(0.0, 0.0), **values,
    )  # fmt: skip


def worse(name, told):
    reason = "it makes a difference, and does not restore learning"
    return Hypothesis(name, f"{name}?", told, "refuted", reason, seeds=3, steps=40)


def untried(name, outcome="undecided", reason="the budget ended before it was tried"):
    return Hypothesis(name, f"{name}?", "", outcome, reason)


def made(ended="decided", control=(), **suspicions):
    names = {words.replace("_", " "): names for words, names in suspicions.items()}
    curves = tuple(
        Curve(seed, (0, 60), (0.0, end), (1, 1), (), "memorised")
        for seed, end in enumerate(control)
    )
    return Experiments((Arm("control", "as it is", curves=curves),), (), 8, 120.0, ended, names)


HEAD = confirmed("head", "replacing softmax by sigmoid on Convf2")
TOLD = (
    "Replacing softmax by sigmoid on Convf2 restores learning"
    " (mean absolute error 0.79 → 0.02 in 40 steps, 3 of 3 seeds)"
)


def only(*found, experiments=None):
    """The one sentence."""
    (sentence,) = hypothesis_sentences(found, experiments)
    return sentence


def test_nothing_tried_is_nothing_said():
    assert hypothesis_sentences(()) == ()
    assert hypothesis_sentences((untried("rate"),), made()) == ()


def test_what_restores_learning_comes_first_and_what_changes_nothing_after():
    others = [
        same("thaw", "unfreezing everything", "refuted"),
        same("float32", "float32"),
        same("tenth", "a tenth of the data"),
        same("scale", "scaling the loss"),
    ]
    assert only(HEAD, *others, experiments=made()) == (
        f"{TOLD}; unfreezing everything, float32, a tenth of the data and scaling the loss change"
        " nothing."
    )
    assert only(HEAD, others[1]) == f"{TOLD}; float32 changes nothing."
    assert only(HEAD) == f"{TOLD}."


def test_a_difference_that_is_not_enough_is_not_nothing():
    assert only(HEAD, worse("gelu", "GELU")).endswith(
        "; GELU makes a difference, but does not restore learning."
    )
    assert only(HEAD, worse("gelu", "GELU"), worse("clip", "clipping gradients")).endswith(
        "; GELU and clipping gradients make a difference, but do not restore learning."
    )


def test_long_lists_are_shortened():
    many = [same(str(i), f"change {i}") for i in range(13)]
    told = "change 0, change 1, change 2, change 3 and 9 others change nothing."
    assert only(HEAD, *many).endswith(told)
    assert joined_names(["a", "b"], 1) == "a and 1 other"
    assert joined_names(["a"]) == "a"


def test_each_of_several_that_restore_learning_has_its_numbers():
    found = [confirmed(f"c{i}", f"change {i}", error=(0.79, 0.01 * i)) for i in range(1, 6)]
    assert only(*found) == (
        "Change 1 restores learning (mean absolute error 0.79 → 0.01 in 40 steps, 3 of 3"
        " seeds); so does change 2 (mean absolute error 0.79 → 0.02 in 40 steps, 3 of 3"
        " seeds); so does change 3 (mean absolute error 0.79 → 0.03 in 40 steps, 3 of 3"
        " seeds); so do 2 others."
    )
    assert only(*found[:4]).endswith("; so does 1 other.")


def test_both_are_needed_where_neither_will_do():
    both = confirmed("a + b", "unfreezing; float32", parts=("a", "b"))
    parts = [same("a", "unfreezing"), same("b", "float32"), same("c", "another seed")]
    told = "unfreezing and float32 together restore learning"
    assert only(both, *parts).startswith(told.capitalize())
    assert only(both, *parts).endswith(": both are needed; another seed changes nothing.")
    # That it takes both is said only where each was tried alone.
    assert "needed" not in only(both, parts[0], untried("b", "not applicable", "none"))


def test_all_three_are_needed():
    three = confirmed("a + b + c", "x; y; z", parts=("a", "b", "c"))
    pairs = [same(p, p, parts=tuple(p.split())) for p in ("a b", "a c", "b c")]
    singles = [same(name, f"do {name}") for name in "abc"]
    sentence = only(three, *pairs, *singles)
    assert sentence.startswith("Do a, do b and do c together restore learning (")
    assert sentence.endswith(": all 3 are needed.")


def test_a_combination_is_not_told_where_a_part_of_it_is_enough():
    both = confirmed("head + b", "x; y", parts=("head", "b"))
    assert only(HEAD, both, same("b", "float32")) == f"{TOLD}; float32 changes nothing."


def test_nothing_that_was_tried_restores_learning():
    assert only(same("a", "float32"), worse("b", "GELU")) == (
        "No change that was tried restores learning: float32 changes nothing; GELU makes a"
        " difference, but does not restore learning."
    )
    both = same("a + b", "float32; GELU", parts=("a", "b"))
    assert only(both, same("a", "float32"), same("b", "GELU")) == (
        "No change that was tried restores learning: float32 and GELU change nothing; combinations"
        " of them do not restore learning either."
    )


def test_what_the_budget_left_out_is_named():
    left = [untried("best-rate"), untried("clip")]
    assert only(HEAD, *left, experiments=made("budget")) == (
        f"{TOLD}; the time limit of 2 min was reached before best-rate and clip were tried."
    )
    assert only(HEAD, left[0], experiments=made("interrupted")) == (
        f"{TOLD}; the run was interrupted before best-rate was tried."
    )
    assert only(*left, experiments=made("budget")) == (
        "Nothing is decided: the time limit of 2 min was reached before best-rate and clip were"
        " tried."
    )


def test_what_some_seeds_leave_open_is_undecided():
    reason = "learning is restored in 2 of 3 seeds"
    open_ = [
        Hypothesis(n, f"{n}?", n, "undecided", reason, seeds=3, restored=2) for n in ("gelu", "he")
    ]
    assert only(open_[0]) == f"Nothing is decided: gelu is undecided: {reason}."
    assert only(HEAD, *open_).endswith("; gelu and he are undecided.")


LEARNS = "the model learns as it is: there is nothing to restore"


def test_a_model_that_learns_has_nothing_to_restore():
    found = [untried(name, "not applicable", LEARNS) for name in ("a", "b")]
    assert only(*found, experiments=made(control=(0.98, 0.96, 0.97))) == (
        "The model learns as it is: there is nothing to restore"
        " (R² 0.97 in 60 steps, 3 of 3 seeds)."
    )
    plain = "The model learns as it is: there is nothing to restore."
    assert only(*found) == plain
    assert only(*found, experiments=made(control=(0.98, 0.1))) == plain


def test_a_sentence_leaves_names_as_they_are():
    assert only(confirmed("x", "learning rate 0.1")).startswith("Learning rate")
    for name in ("conv_1 → conv_2", "mODEL", "größe", ""):
        assert only(confirmed("x", name)).startswith(name or "X restores")


def test_experiments_that_do_not_apply_say_why():
    found = [untried(str(i), "not applicable", f"reason {i}") for i in range(4)]
    assert only(*found, experiments=made(control=(0.1,))) == (
        "No experiment applies to this model: reason 0, reason 1 and 2 others."
    )


def test_in_inference_mode_the_score_is_told_for_errors_are_of_training_mode():
    lag = confirmed("momentum", "momentum 0.9", mode="inference", score=(0.02, 0.971))
    assert only(lag) == (
        "Momentum 0.9 restores learning"
        " (R² in inference mode 0.02 → 0.97 in 40 steps, 3 of 3 seeds)."
    )


def test_a_suspicion_is_answered_in_the_users_own_words():
    found = (HEAD, same("tenth", "a tenth of the data", "refuted"))
    first, second = hypothesis_sentences(found, made(too_much_data=("tenth",)))
    assert first.startswith(TOLD)
    assert second == (
        "You suspected “too much data”: refuted: a tenth of the data changes nothing"
        " (0.79 → 0.79, effect 0.00 [0.00, 0.00], 3 seeds)."
    )


@pytest.mark.parametrize(
    ("names", "told"),
    [
        (("head", "tenth"), "confirmed: replacing softmax by sigmoid on Convf2 restores learning"
         " (mean absolute error 0.79 → 0.02 in 40 steps, 3 of 3 seeds)"),
        (("a",), "confirmed: unfreezing and b together restore learning"
         " (mean absolute error 0.79 → 0.02 in 40 steps, 3 of 3 seeds)"),
        (("tenth", "gelu", "none"), "refuted: a tenth (0.79 → 0.79, effect 0.00 [0.00, 0.00], 3"
         " seeds) and GELU (0.79 → 0.79, effect 0.00 [0.00, 0.00], 3 seeds) change"
         " nothing"),
        (("rate",), "undecided: the budget ended before it was tried"),
        (("none",), "not applicable: there is no dropout"),
        (("rate", "none"), "undecided: the budget ended before it was tried; not applicable: there"
         " is no dropout"),
        (("gone",), "no experiment tests this"),
    ],
)  # fmt: skip
def test_a_suspicion_gets_what_came_of_it(names, told):
    found = (
        HEAD,
        confirmed("a + b", "unfreezing; b", parts=("a", "b")),
        untried("rate"),
        same("tenth", "a tenth", "refuted"),
        same("a", "unfreezing"),
        same("gelu", "GELU", "refuted"),
        untried("none", "not applicable", "there is no dropout"),
    )
    *_, last = hypothesis_sentences(found, made("budget", the_head=names))
    assert last == f"You suspected “the head”: {told}."


def test_a_long_reply_is_shortened():
    found = [worse(str(i), f"change {i}") for i in range(7)]
    *_, last = hypothesis_sentences(found, made(it=tuple("0123456")))
    assert "change 3" in last
    assert last.endswith("; 3 others.")


def test_a_confirmed_finding_names_its_proof():
    finding = Finding("SD101", "x", "error", "m", "f", confirmed_by="head")
    assert confirmation_text(finding, (HEAD,)) == TOLD.replace("Replacing", "replacing")
    assert confirmation_text(finding, ()) == "head"
    assert confirmation_text(Finding("SD101", "x", "error", "m", "f"), (HEAD,)) == ""


def test_numbers_that_are_not_there_are_dashes():
    assert effect_with_interval(untried("x")) == "– [–, –]"  # noqa: RUF001
    assert effect_with_interval(confirmed("x", "x", effect=math.inf)).startswith("– [")  # noqa: RUF001


def test_hostile_text_is_spelt_out():
    told = "".join(hypothesis_sentences(hostile.hypotheses(), hostile.experiments()))
    assert told.isprintable() or "\u200d" in told
    assert not set(told) & set("\x00\x07\x1b\x9b\u202e\u2066\udc80\n")
    assert "x" * 201 not in told
    both = confirmed("x", "", parts=("\x1b[31m", "\u202e"))
    assert only(both).startswith("\\x1b[31m and \\u202e together restore learning")


def test_a_part_that_has_something_to_change_only_then_is_told_from_the_combination():
    both = confirmed("head + rate", "replacing softmax by sigmoid; a rate of 0.01",
                     parts=("head", "rate"))  # fmt: skip
    told, *_ = hypothesis_sentences(
        (both, untried("rate", "not applicable", "no rate helps")), made()
    )
    assert told.startswith("Replacing softmax by sigmoid and a rate of 0.01 together restore")
