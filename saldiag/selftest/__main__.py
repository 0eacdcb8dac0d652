"""``python -m saldiag.selftest``: run it and print the table."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from saldiag.selftest.run import REPORTED, TUNING, as_json, cases, run, table, totals

if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m saldiag.selftest", description=__doc__)
    parser.add_argument("only", nargs="?", default="", help="part of a case's name")
    parser.add_argument("--seed", type=int, choices=(TUNING, REPORTED), help="one half of it")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--json", type=Path, help="also write all results there")
    options = parser.parse_args()
    seeds = (TUNING, REPORTED) if options.seed is None else (options.seed,)
    results = run(cases(seeds, options.only), options.jobs)
    sys.stdout.write(table(results) + "\n")
    if options.json:
        options.json.write_text(as_json(results))
    sums = totals(results)
    sys.exit(bool(sums.failed or sums.with_error or sums.among < sums.faults))
