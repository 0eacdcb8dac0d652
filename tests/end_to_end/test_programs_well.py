"""Programs in the style of Keras' published examples, run as they are: none raises anything."""

from __future__ import annotations

import pytest

from tests.support import seeded_programs as seeded

pytestmark = [pytest.mark.tensorflow, pytest.mark.slow]


@pytest.mark.parametrize("path", seeded.programs(), ids=lambda path: path.stem)
def test_a_healthy_program_has_no_findings(path, tmp_path):
    code, diagnoses, shown = seeded.run(path, path.read_text(encoding="utf-8"), tmp_path)
    assert "Traceback" not in shown
    said = [f for found in diagnoses for f in found["findings"] if f["severity"] != "info"]
    assert not said
    assert diagnoses
    assert code == 0
