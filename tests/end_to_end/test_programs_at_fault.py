"""The same programs with one fault each: it is named first, and the line that it stands in."""

from __future__ import annotations

import pytest

from saldiag.core.findings.finding import SEVERITIES
from tests.support import seeded_programs as seeded

pytestmark = [pytest.mark.tensorflow, pytest.mark.slow]


@pytest.mark.parametrize("path", seeded.programs(), ids=lambda path: path.stem)
def test_the_fault_is_named_at_its_line(path, tmp_path):
    fault = seeded.with_fault(path)
    _, diagnoses, _ = seeded.run(path, fault.text, tmp_path)
    firsts = [found["findings"][0] for found in diagnoses if found["findings"]]
    gravest = min((SEVERITIES.index(f["severity"]) for f in firsts), default=0)
    named = {
        (f["rule"], f["source"] and f["source"]["file"], f["source"] and f["source"]["line"])
        for f in firsts
        if SEVERITIES.index(f["severity"]) == gravest
    }
    file = path.name if fault.cell is None else f"{path.name}[{fault.cell}]"
    assert named == {(fault.rule, file, fault.line)}
