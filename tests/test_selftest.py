"""The matrix of real programs: its bookkeeping, and a fault, its twin and a healthy program."""

from __future__ import annotations

from dataclasses import replace

import pytest

from saldiag.selftest.run import REPORTED, TUNING, Case, Result, Totals, cases, run, table, totals


def result(variant: str, root: str | None, *findings: tuple[str, str]) -> Result:
    case = Case("saldiag.selftest.faults.a", variant, "nested", 1)
    expected = ("SD1", "SD2") if variant != "healthy" else ()
    told = tuple((code, severity, "message") for code, severity in findings)
    return Result(case, expected, root, told, "learns", 1.0)


def test_what_counts_as_first_among_and_alarm() -> None:
    results = [
        result("broken", "SD2", ("SD2", "error")),
        result("broken", "SD3", ("SD3", "error"), ("SD1", "warning")),
        result("broken", None),
        result("fixed", "SD9", ("SD9", "info")),
        result("fixed", "SD9", ("SD9", "warning")),
        result("healthy", "SD9", ("SD9", "error"), ("SD8", "warning")),
        replace(result("healthy", None), failed="ValueError: no"),
    ]
    assert totals(results) == Totals(3, 1, 2, 4, 1, 2, 1)
    said = table(results).splitlines()
    assert [line.split()[0] for line in said] == (
        ["SECOND", "MISSED", "ALARM", "ALARM", "FAILED", "faults"]
    )


def test_every_case_is_there_once_for_each_seed() -> None:
    names = [case.name for case in cases([TUNING])]
    assert len(set(names)) == len(names)
    assert [case.name for case in cases([REPORTED])] == names
    broken = [name.removesuffix("/broken") for name in names if name.endswith("/broken")]
    fixed = [name.removesuffix("/fixed") for name in names if name.endswith("/fixed")]
    assert broken == fixed
    assert len(broken) >= 80
    assert sum(name.endswith("/healthy") for name in names) >= 60


@pytest.mark.slow
@pytest.mark.tensorflow
def test_a_fault_in_every_form_its_twins_and_healthy_programs() -> None:
    chosen = [*cases([TUNING], "softmax_over_one_unit"), *cases([TUNING], "dense/")]
    results = run(chosen, jobs=2)
    sums = totals(results)
    assert (sums.first, sums.faults, sums.failed) == (4, 4, 0), table(results)
    assert (sums.with_error, sums.with_warning) == (0, 0), table(results)
    assert sums.wells == 10
