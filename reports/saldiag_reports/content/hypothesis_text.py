"""What experiments proved, in sentences: the same on a screen, on a page and in a check's message.

Every text of the user's in them is ``plain``.
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
    shorten_end,
    shorten_middle,
    visible_text,
)
from saldiag_reports.content.data import ReportData

Hypotheses = Sequence[Hypothesis]

MAX_NAMED = 4
"""Changes that a sentence names one by one; the rest is counted."""

MAX_PROVEN = 3
"""Changes that each restore learning which the answer tells with their numbers."""

R2 = (
    "R² is the share of the targets' variation that the predictions reproduce on the items trained"
    f" on: 0 is the best prediction that ignores the input, 1 is all memorised, and from {RESTORED}"
    " on a model learns"
)
_WORDS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")


def of(data: ReportData) -> tuple[str, ...]:
    """The answer of a run, then one to each suspicion; nothing where nothing was tried."""
    return sentences(data.diagnosis.hypotheses, data.measured.get(Experiments))


def sentences(found: Hypotheses, experiments: Experiments | None = None) -> tuple[str, ...]:
    """What restores learning and what does not; then an answer to each of the user's suspicions."""
    asked = [h for h in found if _was_asked(h, experiments)]
    told = (answer(asked, experiments),) if asked else ()
    return (*told, *suspicions(found, experiments))


def _was_asked(h: Hypothesis, experiments: Experiments | None) -> bool:
    """Not where nothing hung on it: all was decided without a training."""
    decided = experiments is not None and experiments.ended == "decided"
    return h.tried or h.outcome != "undecided" or not decided


def answer(found: Hypotheses, experiments: Experiments | None = None) -> str:
    """What restores learning, what does not, and what is not decided, in one sentence."""
    if all(h.outcome == "not applicable" for h in found):
        return _sentence(_inapplicable(found, experiments))
    proven = _smallest([h for h in found if h.outcome == "confirmed"])
    told = {name for h in proven for name in _changes(h)}
    single = [h for h in found if not h.parts and h.name not in told]
    rest = [*_refuted(single), *_undecided(single, experiments)]
    if proven:
        return _sentence("; ".join([*_proven(proven, found), *rest]))
    together = any(h.parts and h.outcome in ("refuted", "no difference") for h in found)
    rest += ["nor is it restored by the combinations that were tried"] if together else []
    decided = any(h.outcome in ("refuted", "no difference") for h in found)
    head = "no change that was tried restores learning" if decided else "nothing is decided"
    return _sentence(f"{head}: {'; '.join(rest)}" if rest else head)


def suspicions(found: Hypotheses, experiments: Experiments | None) -> tuple[str, ...]:
    """An answer to each of the user's own suspicions, in the user's words."""
    asked = experiments.suspicions if experiments is not None else {}
    return tuple(
        f"You suspected “{shorten_end(words, 80)}”: {_reply(found, names)}."
        for words, names in asked.items()
    )


def confirmation(finding: Finding, found: Hypotheses) -> str:
    """What confirmed a finding, with the numbers; empty where nothing did."""
    by = finding.confirmed_by
    proof = next((h for h in found if h.name == by), None)
    if proof is None:
        return visible_text(by or "")
    return f"{_claim(proof, found)} ({numbers(proof)})"


def numbers(h: Hypothesis) -> str:
    """``mean absolute error 0.79 → 0.016 in 40 steps, three of three seeds``."""
    agree = f"{_in_words(h.restored)} of {_in_words(h.seeds)} {_noun(h.seeds, 'seed')}"
    return f"{measure(h)} in {grouped_count(h.steps, 'step')}, {agree}"


def measure(h: Hypothesis) -> str:
    """What moved from where to where; errors are of training mode alone."""
    if h.mode == "inference":
        return f"R² in inference mode {pair(h.score)}"
    return f"mean absolute error {pair(h.error)}"


def pair(values: tuple[float, float]) -> str:
    """``0.79 → 0.016``: control and intervention."""
    before, after = (grouped_number(value, 2) for value in values)
    return f"{before} → {after}"


def effect(h: Hypothesis) -> str:
    """``0.97 [0.95, 0.99]``: the difference in R² with its interval."""
    return f"{_score(h.effect)} {interval(h)}"


def interval(h: Hypothesis) -> str:
    """``[0.95, 0.99]``."""
    low, high = (_score(value) for value in h.interval)
    return f"[{low}, {high}]"


def what(h: Hypothesis) -> str:
    """What was changed; the experiment's name where nothing was."""
    return shorten_middle(h.intervention or h.name, 120)


def listed(names: Sequence[str], limit: int = MAX_NAMED) -> str:
    """``a, b and c``; of a long list the first few ``and 9 others``."""
    more = len(names) - limit
    if more > 0:
        names = [*names[:limit], f"{more:,} {_noun(more, 'other')}"]
    return " and ".join(part for part in (", ".join(names[:-1]), *names[-1:]) if part)


def _changes(h: Hypothesis) -> tuple[str, ...]:
    return h.parts or (h.name,)


def _smallest(confirmed: Hypotheses) -> list[Hypothesis]:
    """Those of which no part would do."""
    sets = [frozenset(_changes(h)) for h in confirmed]
    return [h for h, own in zip(confirmed, sets, strict=True) if not any(s < own for s in sets)]


def _proven(proven: Hypotheses, found: Hypotheses) -> list[str]:
    """The first as a sentence, the next as ``so does``."""
    first, *others = proven
    told = [f"{_claim(first, found)} ({numbers(first)}){_needed(first, found)}"]
    for h in others[: MAX_PROVEN - 1]:
        verb = "so do" if h.parts else "so does"
        told.append(f"{verb} {subject(h, found)} ({numbers(h)}){_needed(h, found)}")
    more = len(proven) - MAX_PROVEN
    return (
        [*told, f"so {_verb(more, 'does')} {more:,} {_noun(more, 'other')}"] if more > 0 else told
    )


def _claim(h: Hypothesis, found: Hypotheses) -> str:
    restore = "restore" if h.parts else "restores"
    return f"{subject(h, found)} {restore} learning"


def subject(h: Hypothesis, found: Hypotheses) -> str:
    """What was changed; of several changes each in the words of its own experiment."""
    own = {one.name: what(one) for one in found if one.intervention}
    told = [shorten_middle(part, 120) for part in h.intervention.split("; ")]
    # What has something to change only on top of another change is told nowhere else.
    names = told if len(told) == len(h.parts) else [visible_text(name) for name in h.parts]
    parts = [own.get(name, named) for name, named in zip(h.parts, names, strict=True)]
    return f"{listed(parts)} together" if parts else what(h)


def _needed(h: Hypothesis, found: Hypotheses) -> str:
    """That no part would do, where that was shown: learning fails without any one of them."""
    outcomes = {frozenset(_changes(one)): one.outcome for one in found}
    without = [frozenset(h.parts) - {name} for name in h.parts]
    if not without or any(
        outcomes.get(parts) not in ("refuted", "no difference") for parts in without
    ):
        return ""
    which = "both" if len(without) == 2 else f"all {_in_words(len(without))}"
    return f": {which} are needed"


def _refuted(single: Hypotheses) -> list[str]:
    """Clauses on what changes nothing, and on what does not change enough."""
    refuted = [h for h in single if h.outcome in ("refuted", "no difference")]
    same = [what(h) for h in refuted if h.changes_nothing]
    other = [what(h) for h in refuted if not h.changes_nothing]
    clauses = [f"{listed(same)} {_verb(len(same), 'changes')} nothing"] if same else []
    if other:
        make, does = (_verb(len(other), verb) for verb in ("makes", "does"))
        clauses.append(f"{listed(other)} {make} a difference, but {does} not restore learning")
    return clauses


def _undecided(single: Hypotheses, experiments: Experiments | None) -> list[str]:
    """Clauses on what the trainings leave open, and on what the budget left out."""
    undecided = [h for h in single if h.outcome == "undecided"]
    tried = [h for h in undecided if h.tried]
    clauses = [f"{listed([what(h) for h in tried])} are undecided"] if len(tried) > 1 else []
    if len(tried) == 1:
        clauses.append(f"{what(tried[0])} is undecided: {shorten_end(tried[0].reason, 200)}")
    left = [what(h) for h in undecided if not h.tried]
    ended = _ended(experiments)
    if left and ended:
        clauses.append(f"{ended} before {listed(left)} {_verb(len(left), 'was')} tried")
    return clauses


def _ended(experiments: Experiments | None) -> str:
    """Why not all was tried; nothing where all that could tell was."""
    if experiments is None or experiments.ended == "decided":
        return ""
    if experiments.ended == "interrupted":
        return "it was interrupted"
    return f"the budget of {span(experiments.budget_seconds)} ended"


def span(seconds: float) -> str:
    """``90 s``, ``2 min``."""
    return (
        f"{grouped_number(seconds / 60)} min" if seconds >= 120 else f"{grouped_number(seconds)} s"
    )


def _inapplicable(found: Hypotheses, experiments: Experiments | None) -> str:
    """Why there was nothing to change."""
    reasons = [shorten_middle(reason, 200) for reason in dict.fromkeys(h.reason for h in found)]
    if len(reasons) == 1:
        return f"{reasons[0]}{_control(experiments)}"
    return f"no experiment applies to this model: {listed(reasons, 2)}"


def _control(experiments: Experiments | None) -> str:
    """How well the model learns as it is, if all trainings of the longest control say so."""
    curves = experiments.controls[-1].curves if experiments and experiments.controls else ()
    ends = [curve.score[-1] for curve in curves]
    if not ends or not all(end >= RESTORED for end in ends):
        return ""
    steps = grouped_count(max(curve.steps[-1] for curve in curves), "step")
    agree = f"{_in_words(len(ends))} of {_in_words(len(ends))} {_noun(len(ends), 'seed')}"
    return f" (R² {_score(sum(ends) / len(ends))} in {steps}, {agree})"


def _reply(found: Hypotheses, names: Sequence[str]) -> str:
    """What came of the experiments of those names: the one that is confirmed, or each.

    Those without a training tell something only where none has one.
    """
    every = [h for h in found if h.name in names]
    asked = [h for h in every if h.tried] or every
    confirmed = [h for h in found if h.outcome == "confirmed"]
    proofs = [h for h in confirmed if h in asked]
    proofs = proofs or [h for h in _smallest(confirmed) if set(h.parts) & set(names)]
    told = list(dict.fromkeys(_accounts(proofs[:1] or asked, found)))
    if (more := len(told) - MAX_NAMED) > 0:
        told = [*told[:MAX_NAMED], f"{more:,} {_noun(more, 'other')}"]
    return "; ".join(told) or "no experiment answers to it"


def _accounts(told: Hypotheses, found: Hypotheses) -> list[str]:
    """An account of each; of several that change nothing one for all."""
    same = [h for h in told if h.changes_nothing]
    if len(same) < 2:
        return [account(h, found) for h in told]
    each = listed([f"{what(h)} ({_evidence(h)})" for h in same])
    rest = [account(h, found) for h in told if h not in same]
    return [f"{same[0].outcome}: {each} change nothing", *rest]


def account(h: Hypothesis, found: Hypotheses) -> str:
    """One hypothesis: its outcome, and the numbers behind it."""
    if h.outcome == "confirmed":
        return f"confirmed: {_claim(h, found)} ({numbers(h)})"
    reason = shorten_end(h.reason, 200)
    if h.outcome in ("undecided", "not applicable"):
        return f"{h.outcome}: {reason}"
    return f"{h.outcome}: {what(h)} {reason.removeprefix('it ')} ({_evidence(h)})"


def _evidence(h: Hypothesis) -> str:
    """``0.79 → 0.79, effect 0.00 [0.00, 0.00], three seeds``."""
    moved = pair(h.score if h.mode == "inference" else h.error)
    return f"{moved}, effect {effect(h)}, {_in_words(h.seeds)} {_noun(h.seeds, 'seed')}"


def _sentence(text: str) -> str:
    """With a full stop, and a capital where a plain word is first: names are left as they are."""
    first = text.split(" ", 1)[0]
    capital = first.isascii() and first.isalpha() and first.islower()
    return f"{text[0].upper()}{text[1:]}." if capital else f"{text}."


def _score(value: float) -> str:
    # 0 is added so that no "-0.00" is left.
    return f"{round(value, 2) + 0:.2f}" if math.isfinite(value) else NO_VALUE


def _in_words(amount: int) -> str:
    return _WORDS[amount] if 0 <= amount < len(_WORDS) else f"{amount:,}"


def _noun(amount: int, noun: str) -> str:
    return noun if amount == 1 else f"{noun}s"


def _verb(amount: int, single: str) -> str:
    """``changes`` of one, ``change`` of several."""
    plural = {"changes": "change", "makes": "make", "does": "do", "was": "were"}
    return single if amount == 1 else plural[single]
