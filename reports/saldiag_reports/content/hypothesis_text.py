"""Sentences on the results of experiments, for the page, the terminal and CI formats.

All texts of the user in them have gone through ``plain``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from saldiag.core.findings.finding import Finding
from saldiag.core.findings.hypothesis import RESTORED, Hypothesis
from saldiag.core.measurement import Experiments
from saldiag.core.wording import (
    NO_VALUE,
    grouped_count,
    grouped_number,
    plain,
    shorten_end,
    shorten_middle,
)
from saldiag_reports.content.data import ReportData

Hypotheses = Sequence[Hypothesis]

MAX_NAMED_CHANGES = 4
"""Changes that a sentence lists one by one; the others are counted."""

MAX_CONFIRMED_CHANGES = 3
"""Changes that restore learning which a sentence gives with their numbers."""

R2_EXPLANATION = (
    "R² is the share of the targets' variance that the predictions explain on the training samples:"
    f" 0 is the best prediction that ignores the input, 1 is perfect. From {RESTORED} on, a model"
    " counts as learning"
)


def run_sentences(data: ReportData) -> tuple[str, ...]:
    """The result of the run's experiments, and an answer to each suspicion; empty without any."""
    return hypothesis_sentences(data.diagnosis.hypotheses, data.measured.get(Experiments))


def hypothesis_sentences(
    hypotheses: Hypotheses, experiments: Experiments | None = None
) -> tuple[str, ...]:
    """The result of all experiments in one sentence, then an answer to each suspicion."""
    relevant = [h for h in hypotheses if _belongs_to_answer(h, experiments)]
    answers = (answer_sentence(relevant, experiments),) if relevant else ()
    return (*answers, *suspicion_sentences(hypotheses, experiments))


def _belongs_to_answer(h: Hypothesis, experiments: Experiments | None) -> bool:
    """False for hypotheses that needed no training because all others were decided."""
    decided = experiments is not None and experiments.ended == "decided"
    return h.tried or h.outcome != "undecided" or not decided


def answer_sentence(hypotheses: Hypotheses, experiments: Experiments | None = None) -> str:
    """What restores learning, what does not, and what is undecided, in one sentence."""
    if all(h.outcome == "not applicable" for h in hypotheses):
        return _as_sentence(_inapplicable_reason(hypotheses, experiments))
    confirmed = _minimal_combinations([h for h in hypotheses if h.outcome == "confirmed"])
    named = {name for h in confirmed for name in _changed_parts(h)}
    single = [h for h in hypotheses if not h.parts and h.name not in named]
    others = [*_refuted_clauses(single), *_undecided_clauses(single, experiments)]
    if confirmed:
        return _as_sentence("; ".join([*_confirmed_clauses(confirmed, hypotheses), *others]))
    if any(h.parts and h.outcome in ("refuted", "no difference") for h in hypotheses):
        others.append("combinations of them do not restore learning either")
    refuted = any(h.outcome in ("refuted", "no difference") for h in hypotheses)
    start = "no change that was tried restores learning" if refuted else "nothing is decided"
    return _as_sentence(f"{start}: {'; '.join(others)}" if others else start)


def suspicion_sentences(hypotheses: Hypotheses, experiments: Experiments | None) -> tuple[str, ...]:
    """An answer to each of the user's suspicions, in the user's words."""
    suspicions = experiments.suspicions if experiments is not None else {}
    return tuple(
        f"You suspected “{shorten_end(words, 80)}”: {_suspicion_reply(hypotheses, names)}."
        for words, names in suspicions.items()
    )


def confirmation_text(finding: Finding, hypotheses: Hypotheses) -> str:
    """The experiment that confirmed a finding, with its numbers; empty if none did."""
    confirming = next((h for h in hypotheses if h.name == finding.confirmed_by), None)
    if confirming is None:
        return plain(finding.confirmed_by or "")
    return f"{_restores_learning(confirming, hypotheses)} ({error_and_seeds(confirming)})"


def error_and_seeds(h: Hypothesis) -> str:
    """``mean absolute error 0.79 → 0.016 in 40 steps, 3 of 3 seeds``."""
    steps, seeds = grouped_count(h.steps, "step"), grouped_count(h.seeds, "seed")
    return f"{error_change(h)} in {steps}, {h.restored} of {seeds}"


def error_change(h: Hypothesis) -> str:
    """The error without and with the change; the score if inference mode counts.

    Errors are measured in training mode only.
    """
    if h.mode == "inference":
        return f"R² in inference mode {before_and_after(h.score)}"
    return f"mean absolute error {before_and_after(h.error)}"


def before_and_after(values: tuple[float, float]) -> str:
    """``0.79 → 0.016``: without and with the change."""
    before, after = (grouped_number(value, 2) for value in values)
    return f"{before} → {after}"


def effect_with_interval(h: Hypothesis) -> str:
    """``0.97 [0.95, 0.99]``: the difference in R² with its interval."""
    return f"{_score_text(h.effect)} {interval_text(h)}"


def interval_text(h: Hypothesis) -> str:
    """``[0.95, 0.99]``."""
    low, high = (_score_text(value) for value in h.interval)
    return f"[{low}, {high}]"


def change_label(h: Hypothesis) -> str:
    """What was changed; the name of the experiment if nothing was."""
    return shorten_middle(h.intervention or h.name, 120)


def joined_names(names: Sequence[str], limit: int = MAX_NAMED_CHANGES) -> str:
    """``a, b and c``; more than ``limit`` names end in ``and 9 others``."""
    more = len(names) - limit
    if more > 0:
        names = [*names[:limit], grouped_count(more, "other")]
    return " and ".join(part for part in (", ".join(names[:-1]), *names[-1:]) if part)


def _changed_parts(h: Hypothesis) -> tuple[str, ...]:
    return h.parts or (h.name,)


def _minimal_combinations(confirmed: Hypotheses) -> list[Hypothesis]:
    """Those that have no confirmed combination as a part."""
    sets = [frozenset(_changed_parts(h)) for h in confirmed]
    return [
        h
        for h, parts in zip(confirmed, sets, strict=True)
        if not any(other < parts for other in sets)
    ]


def _confirmed_clauses(confirmed: Hypotheses, hypotheses: Hypotheses) -> list[str]:
    """A clause for each of the first few, then the number of the others."""
    first, *others = confirmed
    needed = _all_needed_clause(first, hypotheses)
    clauses = [f"{_restores_learning(first, hypotheses)} ({error_and_seeds(first)}){needed}"]
    for h in others[: MAX_CONFIRMED_CHANGES - 1]:
        verb = "so do" if h.parts else "so does"
        needed = _all_needed_clause(h, hypotheses)
        clauses.append(f"{verb} {changes_together(h, hypotheses)} ({error_and_seeds(h)}){needed}")
    more = len(confirmed) - MAX_CONFIRMED_CHANGES
    if more > 0:
        clauses.append(f"so {_verb_for(more, 'does')} {grouped_count(more, 'other')}")
    return clauses


def _restores_learning(h: Hypothesis, hypotheses: Hypotheses) -> str:
    restore = "restore" if h.parts else "restores"
    return f"{changes_together(h, hypotheses)} {restore} learning"


def changes_together(h: Hypothesis, hypotheses: Hypotheses) -> str:
    """What was changed; the parts of a combination in the words of their own experiments."""
    if not h.parts:
        return change_label(h)
    labels = {other.name: change_label(other) for other in hypotheses if other.intervention}
    texts = [shorten_middle(part, 120) for part in h.intervention.split("; ")]
    # A change that is possible only on top of another one has no experiment of its own.
    fallbacks = texts if len(texts) == len(h.parts) else [plain(name) for name in h.parts]
    parts = [labels.get(name, text) for name, text in zip(h.parts, fallbacks, strict=True)]
    return f"{joined_names(parts)} together"


def _all_needed_clause(h: Hypothesis, hypotheses: Hypotheses) -> str:
    """``: both are needed``, if experiments have shown that no part can be left out."""
    outcomes = {frozenset(_changed_parts(other)): other.outcome for other in hypotheses}
    without_one = [frozenset(h.parts) - {name} for name in h.parts]
    if not without_one or any(
        outcomes.get(parts) not in ("refuted", "no difference") for parts in without_one
    ):
        return ""
    amount = "both" if len(without_one) == 2 else f"all {len(without_one)}"
    return f": {amount} are needed"


def _refuted_clauses(single: Hypotheses) -> list[str]:
    """A clause on the changes without effect, and one on those whose effect is not enough."""
    refuted = [h for h in single if h.outcome in ("refuted", "no difference")]
    same = [change_label(h) for h in refuted if h.changes_nothing]
    different = [change_label(h) for h in refuted if not h.changes_nothing]
    clauses = []
    if same:
        clauses.append(f"{joined_names(same)} {_verb_for(len(same), 'changes')} nothing")
    if different:
        make, does = (_verb_for(len(different), verb) for verb in ("makes", "does"))
        names = joined_names(different)
        clauses.append(f"{names} {make} a difference, but {does} not restore learning")
    return clauses


def _undecided_clauses(single: Hypotheses, experiments: Experiments | None) -> list[str]:
    """A clause on what the trainings left undecided, and one on what was not tried."""
    undecided = [h for h in single if h.outcome == "undecided"]
    tried = [h for h in undecided if h.tried]
    untried = [change_label(h) for h in undecided if not h.tried]
    clauses = []
    if len(tried) == 1:
        reason = shorten_end(tried[0].reason, 200)
        clauses.append(f"{change_label(tried[0])} is undecided: {reason}")
    elif tried:
        clauses.append(f"{joined_names([change_label(h) for h in tried])} are undecided")
    if untried and (ended := _why_experiments_ended(experiments)):
        was = _verb_for(len(untried), "was")
        clauses.append(f"{ended} before {joined_names(untried)} {was} tried")
    return clauses


def _why_experiments_ended(experiments: Experiments | None) -> str:
    """Why some hypotheses were not tried; empty if all that mattered were."""
    if experiments is None or experiments.ended == "decided":
        return ""
    if experiments.ended == "interrupted":
        return "the run was interrupted"
    return f"the time limit of {duration_text(experiments.budget_seconds)} was reached"


def duration_text(seconds: float) -> str:
    """``90 s``, ``2 min``."""
    return (
        f"{grouped_number(seconds / 60)} min" if seconds >= 120 else f"{grouped_number(seconds)} s"
    )


def _inapplicable_reason(hypotheses: Hypotheses, experiments: Experiments | None) -> str:
    """Why no change could be tried."""
    reasons = [
        shorten_middle(reason, 200) for reason in dict.fromkeys(h.reason for h in hypotheses)
    ]
    if len(reasons) == 1:
        return f"{reasons[0]}{_control_score(experiments)}"
    return f"no experiment applies to this model: {joined_names(reasons, 2)}"


def _control_score(experiments: Experiments | None) -> str:
    """The score of the unchanged model, if it learned in all trainings of the longest control."""
    curves = experiments.controls[-1].curves if experiments and experiments.controls else ()
    scores = [curve.score[-1] for curve in curves]
    if not scores or not all(score >= RESTORED for score in scores):
        return ""
    steps = grouped_count(max(curve.steps[-1] for curve in curves), "step")
    seeds = f"{len(scores)} of {grouped_count(len(scores), 'seed')}"
    return f" (R² {_score_text(sum(scores) / len(scores))} in {steps}, {seeds})"


def _suspicion_reply(hypotheses: Hypotheses, names: Sequence[str]) -> str:
    """The outcomes of the named experiments: the confirmed one, else all of them.

    Experiments without a training count only if none of them had one.
    """
    named = [h for h in hypotheses if h.name in names]
    tested = [h for h in named if h.tried] or named
    confirmed = [h for h in hypotheses if h.outcome == "confirmed"]
    proofs = [h for h in confirmed if h in tested]
    proofs = proofs or [h for h in _minimal_combinations(confirmed) if set(h.parts) & set(names)]
    accounts = list(dict.fromkeys(_outcome_accounts(proofs[:1] or tested, hypotheses)))
    if (more := len(accounts) - MAX_NAMED_CHANGES) > 0:
        accounts = [*accounts[:MAX_NAMED_CHANGES], grouped_count(more, "other")]
    return "; ".join(accounts) or "no experiment tests this"


def _outcome_accounts(selected: Hypotheses, hypotheses: Hypotheses) -> list[str]:
    """An account of each; changes without effect share one."""
    same = [h for h in selected if h.changes_nothing]
    if len(same) < 2:
        return [outcome_account(h, hypotheses) for h in selected]
    each = joined_names([f"{change_label(h)} ({_error_effect_and_seeds(h)})" for h in same])
    others = [outcome_account(h, hypotheses) for h in selected if h not in same]
    return [f"{same[0].outcome}: {each} change nothing", *others]


def outcome_account(h: Hypothesis, hypotheses: Hypotheses) -> str:
    """The outcome of a hypothesis, with its numbers."""
    if h.outcome == "confirmed":
        return f"confirmed: {_restores_learning(h, hypotheses)} ({error_and_seeds(h)})"
    reason = shorten_end(h.reason, 200)
    if h.outcome in ("undecided", "not applicable"):
        return f"{h.outcome}: {reason}"
    what_it_does = f"{change_label(h)} {reason.removeprefix('it ')}"
    return f"{h.outcome}: {what_it_does} ({_error_effect_and_seeds(h)})"


def _error_effect_and_seeds(h: Hypothesis) -> str:
    """``0.79 → 0.79, effect 0.00 [0.00, 0.00], 3 seeds``."""
    values = before_and_after(h.score if h.mode == "inference" else h.error)
    return f"{values}, effect {effect_with_interval(h)}, {grouped_count(h.seeds, 'seed')}"


def _as_sentence(text: str) -> str:
    """With a full stop, and a capital letter unless the first word may be a name."""
    first = text.split(" ", 1)[0]
    capitalize = first.isascii() and first.isalpha() and first.islower()
    return f"{text[0].upper()}{text[1:]}." if capitalize else f"{text}."


def _score_text(value: float) -> str:
    # 0 is added because round() can return -0.0.
    return f"{round(value, 2) + 0:.2f}" if math.isfinite(value) else NO_VALUE


def _verb_for(amount: int, singular: str) -> str:
    """``changes`` for one, ``change`` for several."""
    plurals = {"changes": "change", "makes": "make", "does": "do", "was": "were"}
    return singular if amount == 1 else plurals[singular]
