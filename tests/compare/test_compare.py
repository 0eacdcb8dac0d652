"""The comparison itself: its programs, what it counts as a difference, and its record."""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from typing import get_args

import pytest

from tests.compare.__main__ import TOTALS, line_of, read_totals, totals_line
from tests.compare.programs import (
    EXPECTED,
    SAMPLE_SIZE,
    Program,
    all_programs,
    sample_programs,
)
from tests.compare.runs import ROOT, Comparison, Outcome, Run, compare, differences, without_times
from tests.support.commits import commit

DOCUMENT = ROOT / "docs/reference/what-saldiag-changes.md"


def test_there_are_more_than_a_hundred_programs() -> None:
    names = [program.name for program in all_programs()]
    assert len(names) > 100
    assert Counter(names).most_common(1)[0][1] == 1


def test_every_program_compiles_and_prints_its_digests() -> None:
    for program in all_programs():
        compile(program.source, program.name, "exec")
        assert "finish(globals())" in program.source
        assert "sys.exit(main())" not in program.source


def test_programs_that_may_differ_are_documented() -> None:
    names = {program.name for program in all_programs()}
    text = DOCUMENT.read_text(encoding="utf-8")
    assert EXPECTED.keys() <= names
    assert all(f"| `{name}` | {reason} |" in text for name, reason in EXPECTED.items())


def test_a_sample_is_chosen_by_its_key() -> None:
    programs = all_programs()
    chosen = sample_programs(programs, "one")
    assert len(chosen) == SAMPLE_SIZE
    assert chosen == sample_programs(programs, "one")
    keys = [str(number) for number in range(400)]
    every = {program.name for key in keys for program in sample_programs(programs, key)}
    assert every == {program.name for program in programs}


RUN = Run(("loss 1", "#random 0.5", "#end"), 0, (("a.txt", "12"),), "", 1.0)


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({}, []),
        ({"seconds": 9.0, "errors": "a warning"}, []),
        (
            {"output": ("loss 2", "#random 0.5", "#end")},
            ["'loss 1' → 'loss 2'"],
        ),
        (
            {"output": ("more", *RUN.output)},
            ["'loss 1' → 'more'", "'#random 0.5' → 'loss 1'", "'#end' → '#random 0.5'",
             "3 lines of output → 4"],
        ),
        ({"files": (("a.txt", "13"),)}, ["files a.txt"]),
        ({"files": ()}, ["files a.txt"]),
        ({"output": ("loss 1",)}, ["3 lines of output → 1", "it did not reach its end: ''"]),
    ],
)  # fmt: skip
def test_what_counts_as_a_difference(changed: dict[str, object], expected: list[str]) -> None:
    other = dataclasses.replace(RUN, **changed)
    assert differences(RUN, other, same_command=False) == expected


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("12/12 - 4s - 335ms/step - loss: 1.4749", "12/12 - TIME - TIME - loss: 1.4749"),
        ("1/8 ━ 44s 6s/step - loss: 9\x08\x08\x08\r8/8 ━━ 1s 90us/step - loss: 2",
         "8/8 ━━ TIME TIME - loss: 2"),
        ("\x1b[1m8/8\x1b[0m \x1b[1m12s\x1b[0m 2s/step", "8/8 TIME TIME"),
        ("weights 12 3s4", "weights 12 3s4"),
    ],
)  # fmt: skip
def test_durations_are_no_difference(line: str, expected: str) -> None:
    assert without_times(line) == expected


def test_exit_codes_of_saldiag_say_only_whether_the_program_ended_well() -> None:
    failed = dataclasses.replace(RUN, exit_code=3)
    assert differences(RUN, failed, same_command=True) == ["exit code 0 → 3"]
    assert differences(RUN, dataclasses.replace(RUN, exit_code=1), same_command=False) == []
    assert differences(failed, RUN, same_command=False) == ["exit code 3 → 0"]


def test_the_table_and_its_totals() -> None:
    found = [
        Comparison("a", "data", "identical", "", 1.0, 2.0),
        Comparison("b", "data", "differs", "x → y", 1.0, 2.0),
    ]
    assert line_of(found[1]).split() == [
        "differs",
        "data",
        "b",
        "1.0",
        "s",
        "2.0",
        "s",
        "x",
        "→",
        "y",
    ]
    assert totals_line(found) == "2 programs: 1 identical, 1 differs"


def test_the_record_has_programs_that_end_as_in_plain_python() -> None:
    written = json.loads(TOTALS.read_text(encoding="utf-8"))
    recorded = read_totals()
    names = [(program.group, program.name) for program in all_programs()]
    entries = [(entry.group, entry.name) for entry in recorded]
    assert entries == [name for name in names if name in set(entries)]
    assert written["totals"].keys() == set(get_args(Outcome))
    counts = Counter(entry.outcome for entry in recorded)
    assert written["totals"] == {outcome: counts[outcome] for outcome in get_args(Outcome)}
    assert all(entry.name in EXPECTED for entry in recorded if entry.outcome == "expected")
    assert not [entry.name for entry in recorded if entry.outcome in {"differs", "failed"}]


def recorded_programs() -> list[Program]:
    """The programs that have been compared before."""
    recorded = {each.name for each in read_totals()}
    return [program for program in all_programs() if program.name in recorded]


@pytest.mark.slow
@pytest.mark.tensorflow
@pytest.mark.parametrize(
    "program", sample_programs(recorded_programs(), commit()), ids=lambda program: program.name
)
def test_a_sample_ends_as_in_plain_python(program: Program) -> None:
    found = compare(program)
    assert found.outcome in {"identical", "expected", "nondeterministic"}, found.detail
