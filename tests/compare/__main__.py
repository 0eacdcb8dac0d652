# ruff: noqa: T201 - a script that prints
"""``python -m tests.compare``: compare all programs, a rotating sample, or some by name."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from typing import get_args

from tests.compare.programs import HERE, all_programs, sample_programs
from tests.compare.runs import Comparison, Outcome, compare

TOTALS = HERE / "totals.json"
"""The outcome of the last comparison of each program."""
AGAIN = {"differs", "failed", "nondeterministic"}
"""Outcomes of programs that ``--resume`` compares again."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Compare programs; returns 1 if one differs without a stated reason."""
    parser = argparse.ArgumentParser(prog="tests.compare", description=__doc__)
    parser.add_argument("--sample", metavar="KEY", help="a few programs, chosen by KEY")
    parser.add_argument("--only", metavar="NAME", action="append", help="programs of this name")
    parser.add_argument("--jobs", type=int, default=2, help="programs at a time (default: 2)")
    parser.add_argument(
        "--resume",
        action="store_true",
        help="only programs that the record lacks, or that differed",
    )
    given = parser.parse_args(arguments)
    programs = all_programs()
    known = {each.name: each for each in read_totals()} if given.resume else {}
    chosen = sample_programs(programs, given.sample) if given.sample else programs
    if given.only:
        chosen = [p for p in programs if p.name in given.only]
    chosen = [p for p in chosen if p.name not in known or known[p.name].outcome in AGAIN]
    is_whole = not given.sample and not given.only
    started = time.monotonic()
    found = []
    # Threads: each of them waits for a process of its own.
    with ThreadPoolExecutor(given.jobs) as pool:
        for comparison in pool.map(compare, chosen):
            found.append(comparison)
            print(line_of(comparison), flush=True)
            if is_whole:  # as far as it has come, for --resume
                known[comparison.name] = comparison
                write_totals([known[p.name] for p in programs if p.name in known])
    minutes = (time.monotonic() - started) / 60
    print(f"{totals_line(found)} · {minutes:.1f} min")
    return int(any(each.outcome in {"differs", "failed"} for each in found))


def line_of(comparison: Comparison) -> str:
    """A line of the table."""
    seconds = f"{comparison.plain_seconds:5.1f} s {comparison.watched_seconds:5.1f} s"
    return (
        f"{comparison.outcome:16} {comparison.group:9} {comparison.name:40} {seconds}"
        f"  {comparison.detail}".rstrip()
    )


def totals_line(found: Sequence[Comparison]) -> str:
    """How many programs had each outcome."""
    counts = Counter(comparison.outcome for comparison in found)
    parts = (f"{counts[outcome]} {outcome}" for outcome in get_args(Outcome) if counts[outcome])
    return f"{len(found)} programs: {', '.join(parts)}"


def read_totals() -> list[Comparison]:
    """The outcomes on record; empty without one."""
    if not TOTALS.exists():
        return []
    written = json.loads(TOTALS.read_text(encoding="utf-8"))
    return [Comparison(**entry) for entry in written["programs"]]


def write_totals(found: Sequence[Comparison]) -> None:
    """Write the outcome of programs."""
    counts = Counter(comparison.outcome for comparison in found)
    written = {
        "totals": {outcome: counts[outcome] for outcome in get_args(Outcome)},
        "programs": [asdict(each) for each in found],
    }
    TOTALS.write_text(json.dumps(written, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
