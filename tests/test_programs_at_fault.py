"""The same programs with one fault each: it is named first, and the line that it stands in."""

from __future__ import annotations

import pytest
import seeded

pytestmark = [pytest.mark.tensorflow, pytest.mark.slow]


@pytest.mark.parametrize("path", seeded.programs(), ids=lambda path: path.stem)
def test_the_fault_is_named_at_its_line(path, tmp_path):
    fault = seeded.with_fault(path)
    _, diagnoses, _ = seeded.run(path, fault.text, tmp_path)
    named = [
        (root["rule"], root["source"]["file"], root["source"]["line"])
        for root in (found["root_cause"] for found in diagnoses)
        if root is not None and root["source"] is not None
    ]
    file = path.name if fault.cell is None else f"{path.name}[{fault.cell}]"
    assert (fault.rule, file, fault.line) in named
