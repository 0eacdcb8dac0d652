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
"""The outcome of the last comparison of all programs."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Compare programs; returns 1 if one differs without a stated reason."""
    parser = argparse.ArgumentParser(prog="tests.compare", description=__doc__)
    parser.add_argument("--sample", metavar="KEY", help="a few programs, chosen by KEY")
    parser.add_argument("--only", metavar="NAME", action="append", help="programs of this name")
    parser.add_argument("--jobs", type=int, default=2, help="programs at a time (default: 2)")
    given = parser.parse_args(arguments)
    programs = all_programs()
    chosen = sample_programs(programs, given.sample) if given.sample else programs
    if given.only:
        chosen = [p for p in programs if p.name in given.only]
    started = time.monotonic()
    found = []
    # Threads: each of them waits for a process of its own.
    with ThreadPoolExecutor(given.jobs) as pool:
        for comparison in pool.map(compare, chosen):
            found.append(comparison)
            print(line_of(comparison), flush=True)
    minutes = (time.monotonic() - started) / 60
    print(f"{totals_line(found)} · {minutes:.1f} min")
    if len(chosen) == len(programs):
        write_totals(found, minutes)
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


def write_totals(found: Sequence[Comparison], minutes: float) -> None:
    """Write the outcome of all programs, without differences that hold numbers of one machine."""
    counts = Counter(comparison.outcome for comparison in found)
    written = {
        "minutes": round(minutes, 1),
        "totals": {outcome: counts[outcome] for outcome in get_args(Outcome)},
        "programs": [asdict(each) for each in found],
    }
    TOTALS.write_text(json.dumps(written, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
