# ruff: noqa: T201 - a script that prints a table
"""Whether experiments confirm the seeded fault, over the matrix, and nothing in well programs.

    python tests/benchmarks/bench_experiments.py --seed 3 --out /tmp/experiments.jsonl

Each program is examined and judged as ``saldiag overfit`` does it; then all hypotheses are tried
within the budget. A fault counts as reachable where an intervention answers to its code and the
model as it is does not learn: what learns all the same has nothing to restore.
One form of each fault is taken, unless ``--forms all``; finished programs in ``--out`` are kept.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

OUT_OF_REACH = (
    "argmax_between_layers", "divided_to_nothing", "feature_maps_compared", "states_detached",
)  # fmt: skip
"""Faults whose code an intervention answers to that are made elsewhere: by an operation inside a
call, not by the loss or the inputs."""
OUTCOMES = ("first", "other", "none", "learns", "unscored", "failed")


def main() -> None:
    """Run the chosen programs one after the other, and print the sums."""
    options = parse()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    rows = read(options.out)
    for case in chosen(options):
        if case.name not in {row["name"] for row in rows}:
            rows.append(row := outcome(case, options))
            print(told(row), flush=True)
            if options.out:
                with options.out.open("a") as file:
                    file.write(json.dumps(row) + "\n")
    print(summary(rows))


def parse() -> argparse.Namespace:
    """The command's options."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", help="parts of programs' names")
    parser.add_argument("--without", nargs="*", default=[], help="parts of names to leave out")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--variants", nargs="*", default=["broken", "fixed", "healthy"])
    parser.add_argument("--forms", choices=("one", "all"), default="one")
    parser.add_argument("--budget", type=float, default=120.0, help="seconds a program")
    parser.add_argument("--out", type=Path)
    return parser.parse_args()


def read(path: Path | None) -> list[dict[str, Any]]:
    """What is finished already."""
    if path is None or not path.is_file():
        return []
    return [json.loads(line) for line in path.read_text().splitlines()]


def chosen(options: argparse.Namespace) -> list[Any]:
    """The cases: of each fault one form, the next one from fault to fault."""
    from saldiag.selftest.cases import matrix_cases

    found = [c for c in matrix_cases(options.seed, options.parts) if c.variant in options.variants]
    found = [c for c in found if c.variant != "broken" or answered(c)]
    groups = list(dict.fromkeys(case.group for case in found))
    return [
        case
        for case in found
        if options.forms == "all"
        or case.variant == "healthy"
        or case.form == form(case.module.FORMS, groups, case.group)
        if not any(part in case.name for part in options.without)
    ]


def form(forms: Sequence[str], groups: Sequence[str], group: str) -> str:
    """One of the small forms, another from fault to fault."""
    small = [name for name in forms if name not in ("quicksal", "whole_case", "alone")] or forms
    return small[groups.index(group) % len(small)]


def answered(case: Any) -> bool:
    """Whether an intervention answers to the seeded fault."""
    from saldiag.experiments.interventions.base import all_interventions

    codes = {code for kind in all_interventions().values() for code in kind.answers}
    return bool(codes & set(case.expected)) and case.group not in OUT_OF_REACH


def outcome(case: Any, options: argparse.Namespace) -> dict[str, Any]:
    """Examine, judge and experiment; what came of it as plain values."""
    begun = time.process_time()
    row: dict[str, Any] = {"name": case.name, "variant": case.variant, "expected": case.expected}
    try:
        row |= experimented(case, options)
    except Exception as error:
        row |= {"outcome": "failed", "reason": f"{type(error).__name__}: {error}"[:300]}
    return row | {"seconds": round(time.process_time() - begun, 1)}


def experimented(case: Any, options: argparse.Namespace) -> dict[str, Any]:
    """One program on its way from rules to hypotheses."""
    from saldiag.core.measurement import Wiring
    from saldiag.experiments.search.lab import Lab
    from saldiag.experiments.search.plan import SearchPlan
    from saldiag.experiments.search.runner import SearchRunner
    from saldiag.experiments.search.score import CannotScore
    from saldiag.experiments.search.suspicion import ranked_candidates
    from saldiag.experiments.search.workers import local_worker
    from saldiag.rules.verdicts.hypotheses import hypotheses

    diagnosis, measured = judged(case)
    row: dict[str, Any] = {"findings": [f.rule for f in diagnosis.findings]}
    program = built(case)
    lab = Lab(program.model, program.batches, measured.get(Wiring))
    plan = SearchPlan(
        ranked_candidates(diagnosis.findings, {}), proven=diagnosis.verdict == "does_not_learn"
    )

    try:
        with local_worker(lambda: lab) as workers:
            found = SearchRunner(plan, workers, lab.items, options.budget).run()
    except CannotScore as error:
        return row | {"outcome": "unscored", "reason": str(error)}
    told = [h for h in hypotheses(found) if h.outcome == "confirmed"]
    learns = all(arm.reason and "learns as it is" in arm.reason for arm in found.arms)
    return row | {
        "outcome": verdict(case, told, learns),
        "confirmed": [[h.name, h.intervention, round(h.effect, 2)] for h in told],
        "control": [[c.stopped, round(c.score[-1], 2)] for c in plan.control.curves],
        "tried": {h.name: [h.outcome, h.reason[:80], round(h.score[1], 2)]
                  for h in hypotheses(found)},
        "ended": found.ended,
    }  # fmt: skip


def verdict(case: Any, told: Sequence[Any], learns: bool) -> str:
    """In one word: is the first that is confirmed the one that was seeded?"""
    if told:
        return "first" if set(told[0].answers) & set(case.expected) else "other"
    return "learns" if learns else "none"


def judged(case: Any) -> Any:
    """What the rules say of the program, and the measurements."""
    from saldiag.app.examine.in_memory import examine_model
    from saldiag.app.loading.subject import Subject
    from saldiag.app.session.judging import judge

    program = built(case)
    subject = Subject(program.model, {}, program.origins, expected_range=program.expected_range)
    measured = examine_model(subject, program.batches, plan=program.plan, max_steps=program.steps)
    return judge(measured), measured


def built(case: Any) -> Any:
    """The program from its start."""
    import keras

    keras.backend.clear_session()
    keras.config.set_dtype_policy("float32")
    keras.utils.set_random_seed(case.seed)
    return case.build_program()


def told(row: dict[str, Any]) -> str:
    """A program on a line."""
    confirmed = ", ".join(name for name, *_ in row.get("confirmed", [])) or row.get("reason", "")
    return f"{row['outcome']:9s}{row['seconds']:6.1f} s  {row['name']:60s} {confirmed}"


def summary(rows: Sequence[dict[str, Any]]) -> str:
    """Counts of outcomes; the shares that goals are about."""
    broken = Counter(row["outcome"] for row in rows if row["variant"] == "broken")
    well = [row for row in rows if row["variant"] != "broken"]
    reachable = broken["first"] + broken["other"] + broken["none"]
    alarms = sum(bool(row.get("confirmed")) for row in well)
    seconds = sorted(row["seconds"] for row in rows)
    return "\n".join(
        [
            "broken: " + ", ".join(f"{name} {broken[name]}" for name in OUTCOMES),
            f"seeded cause confirmed first: {broken['first']} of {reachable} reachable",
            f"confirmed in well programs: {alarms} of {len(well)}",
            f"processor time: median {seconds[len(seconds) // 2]} s, most {seconds[-1]} s",
        ]
    ) if rows else "nothing was run"  # fmt: skip


if __name__ == "__main__":
    main()
