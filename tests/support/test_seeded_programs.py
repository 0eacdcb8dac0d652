"""How a fault is put into a program, and where it is looked for."""

from __future__ import annotations

import json

import pytest

from tests.support import seeded_programs as seeded

SCRIPT = "a = 1\n    # fault SD101: b = 3\n    b = 2\nc = 4{named}\n"


def test_code_takes_the_place_of_the_line_below(tmp_path):
    path = tmp_path / "program.py"
    path.write_text(SCRIPT.format(named=""))
    found = seeded.with_fault(path)
    assert found.text.split("\n")[2] == "    b = 3"
    assert (found.rule, found.line, found.cell) == ("SD101", 3, None)


def test_another_line_can_be_the_one_to_point_at(tmp_path):
    path = tmp_path / "program.py"
    path.write_text(SCRIPT.format(named="  # named"))
    assert seeded.with_fault(path).line == 4


def test_lines_of_a_notebook_count_within_code_cells(tmp_path):
    path = tmp_path / "program.ipynb"
    sources = [("code", ["x = 0\n"]), ("markdown", ["text"]), ("code", [SCRIPT.format(named="")])]
    cells = [{"cell_type": kind, "source": lines} for kind, lines in sources]
    path.write_text(json.dumps({"cells": cells}))
    found = seeded.with_fault(path)
    assert (found.line, found.cell) == (3, 2)
    assert "    b = 3" in json.loads(found.text)["cells"][2]["source"]


@pytest.mark.parametrize("path", seeded.programs(), ids=lambda path: path.stem)
def test_every_program_has_one_fault_of_a_known_rule(path):
    from saldiag.rules.engine.registry import all_rules

    assert seeded.with_fault(path).rule in {rule.code for rule in all_rules()}
