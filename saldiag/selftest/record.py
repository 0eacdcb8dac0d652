"""The recorded outcomes, below which no change may fall, and the table in docs/selftest.md.

``python -m saldiag.selftest.record RUN…`` records what ``saldiag selftest --out RUN`` wrote.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from saldiag.core.files.jsonio import read_json, write_json, write_text
from saldiag.selftest.cases import REPORTED_SEED, TUNING_SEED
from saldiag.selftest.outcome import Outcome, Result, Totals, count_outcomes, count_results
from saldiag.selftest.table import as_markdown, group_rows

RECORD = Path(__file__).with_name("record.json")
PAGE = Path(__file__).parents[2] / "docs" / "selftest.md"
BLOCK = re.compile(r"(<!-- selftest: begin -->\n).*?(<!-- selftest: end -->)", re.DOTALL)
HALVES = {
    TUNING_SEED: f"thresholds chosen here (seed {TUNING_SEED})",
    REPORTED_SEED: f"held out (seed {REPORTED_SEED})",
}

Record = Mapping[str, Mapping[str, Any]]
"""By seed and case name: ``expected`` codes and ``outcome``."""


def read_record(path: Path = RECORD) -> Record:
    """Read the record."""
    record: Record = read_json(path)
    return record


def worse_totals(results: Sequence[Result], record: Record) -> list[str]:
    """Totals of ``results`` that are worse than those on record, one line each.

    Cases that are not on record are left out on both sides, except those that could not be run.
    """
    known = [r for r in results if r.case.name in record.get(str(r.case.seed), {})]
    now = count_results(known)
    then = count_outcomes(
        (r.case.variant == "broken", record[str(r.case.seed)][r.case.name]["outcome"])
        for r in known
    )
    failed = count_results(results).failed
    fallen = [
        f"{name}: {after}, on record {before}"
        for name, before, after, less in _compared_totals(then, now)
        if (after < before if less else after > before)
    ]
    return fallen + ([f"could not be run: {failed}"] if failed else [])


BEST_TO_WORST: tuple[Outcome, ...] = (
    "first", "clear", "info", "among", "warning", "missed", "error", "failed",
)  # fmt: skip


def worse_cases(results: Sequence[Result], record: Record) -> list[Result]:
    """Results that are worse than the recorded outcome of the same case."""
    return [
        result
        for result in results
        if (row := record.get(str(result.case.seed), {}).get(result.case.name))
        and BEST_TO_WORST.index(result.outcome) > BEST_TO_WORST.index(row["outcome"])
    ]


def _compared_totals(then: Totals, now: Totals) -> list[tuple[str, int, int, bool]]:
    """Name, recorded count, current count, and whether a smaller count is worse."""
    return [
        ("faults named first", then.first, now.first, True),
        ("faults among the findings", then.among, now.among, True),
        ("well programs with an error", then.with_error, now.with_error, False),
        ("well programs with a warning", then.with_warning, now.with_warning, False),
    ]


def markdown(record: Record) -> str:
    """The table of docs/selftest.md."""
    halves = {
        HALVES[seed]: _half_totals(record[str(seed)]) for seed in HALVES if str(seed) in record
    }
    reported = record.get(str(REPORTED_SEED), {})
    broken = {name: row for name, row in reported.items() if name.endswith("/broken")}
    faults = group_rows(
        (name.split("/")[0], tuple(row["expected"]), row["outcome"]) for name, row in broken.items()
    )
    return as_markdown(halves, faults)


def _half_totals(half: Mapping[str, Any]) -> Totals:
    outcomes: list[tuple[bool, Outcome]] = [
        (name.endswith("/broken"), row["outcome"]) for name, row in half.items()
    ]
    return count_outcomes(outcomes)


def with_run_results(record: Record, seed: int, results: Sequence[Mapping[str, Any]]) -> Record:
    """The record in which the results of a whole run replace those of its seed."""
    half = {row["name"]: {"expected": row["expected"], "outcome": row["outcome"]}
            for row in results}  # fmt: skip
    return {**record, str(seed): dict(sorted(half.items()))}


def with_new_cases(record: Record, seed: int, results: Sequence[Mapping[str, Any]]) -> Record:
    """The record with those results of a narrowed run whose cases it does not have yet.

    Cases on record stay as they are: only a whole run may change them.
    """
    half = record.get(str(seed), {})
    new = {
        row["name"]: {"expected": row["expected"], "outcome": row["outcome"]}
        for row in results
        if row["name"] not in half
    }
    return {**record, str(seed): dict(sorted({**half, **new}.items()))}


def with_table(page: str, record: Record) -> str:
    """The text of docs/selftest.md with the current table.

    Raises:
        ValueError: the text has no markers for the table.
    """
    if not BLOCK.search(page):
        raise ValueError("selftest.md has no `<!-- selftest: begin -->` … `<!-- selftest: end -->`")
    return BLOCK.sub(lambda found: f"{found[1]}{markdown(record)}\n{found[2]}", page)


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the record and the table of docs/selftest.md from the runs given as arguments."""
    parser = argparse.ArgumentParser(prog="python -m saldiag.selftest.record", description=__doc__)
    parser.add_argument("run", nargs="+", type=Path)
    record: Record = read_record() if RECORD.is_file() else {}
    for run in parser.parse_args(arguments).run:
        written = read_json(run / "selftest.json")
        if written["sample"] is not None or not written["whole"]:
            sys.exit(f"{run}: a sample or an interrupted run does not go on record")
        add = with_new_cases if written["parts"] else with_run_results
        record = add(record, written["seed"], written["results"])
    record = {half: rows for half, rows in record.items() if int(half) in HALVES}
    write_json(RECORD, record)
    write_text(PAGE, with_table(PAGE.read_text(encoding="utf-8"), record))


if __name__ == "__main__":
    main()
