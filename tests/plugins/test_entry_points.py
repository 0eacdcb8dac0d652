"""Rules, interventions and models of another package, registered by entry points alone."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = '''
from saldiag.core.findings.rule import Rule
from saldiag.core.measurement import Wiring


class TooManyCalls(Rule):
    """More layer calls than this company allows.

    ## What it does

    Counts the layer calls.

    ## Why is this bad

    It is not: this is a test.

    ## Example

    A deep model.

    ## Use instead

    A shallow one.

    ## Threshold

    - `calls` = 1: chosen for this test.
    """

    code = "ACME101"
    name = "too-many-calls"
    severity = "warning"
    requires = (Wiring,)
    thresholds = {"calls": 1}

    def judge(self, measured, limits):
        calls = len(measured.need(Wiring).calls)
        if calls > limits["calls"]:
            message = f"{calls} layer calls (threshold {limits['calls']})"
            yield self.finding(message, "Remove layers")


class Model:
    loss, learning_rate, input_range = "mse", 1e-3, (0.0, 1.0)

    def parse_variant(self, name, variant):
        return None if variant is None else (variant,)


MODEL = Model()
'''
INTERVENTION = '''
from saldiag.experiments.interventions.base import Intervention, NotApplicable


class WarmUp(Intervention):
    """Raises the learning rate over the first steps (Goyal et al. 2017)."""

    name = "acme-warm-up"
    states = "the first steps are too large"
    words = ("warm",)

    def change(self, lab):
        raise NotApplicable("this is a test")
'''
ENTRY_POINTS = """
[saldiag.rules]
too-many-calls = acme_saldiag:TooManyCalls

[saldiag.interventions]
warm-up = acme_interventions:WarmUp

[saldiag.models]
acme-net = acme_saldiag:MODEL
"""


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """A folder with an installed package, as ``pip install --target`` leaves it."""
    (tmp_path / "acme_saldiag.py").write_text(PACKAGE)
    (tmp_path / "acme_interventions.py").write_text(INTERVENTION)
    info = tmp_path / "acme_saldiag-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-saldiag\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(ENTRY_POINTS)
    return tmp_path


def output_of(code: str, folder: Path) -> str:
    path = os.pathsep.join([str(folder), *filter(None, sys.path)])
    result = subprocess.run(
        [sys.executable, "-c", code], check=False, capture_output=True, text=True,
        env={**os.environ, "PYTHONPATH": path},
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_a_rule_is_listed_explained_and_selected_like_any_other(installed: Path) -> None:
    code = "import sys; from saldiag.cli.main import main; sys.exit(main({}))"
    assert "too-many-calls" in output_of(code.format(["rules", "acme"]), installed)
    assert "# ACME101 too-many-calls" in output_of(code.format(["explain", "ACME101"]), installed)
    listed = output_of(code.format(["rules", "--select", "ACME", "--format", "json"]), installed)
    assert listed.count('"on": true') == 1


def test_a_rule_judges_with_its_threshold(installed: Path) -> None:
    code = """
from saldiag.rules.engine.engine import diagnose
from tests.support.measurements import wiring, healthy
for limits in ({}, {"ACME101": {"calls": 100}}):
    found = diagnose(healthy(), verdict="learns", select=["ACME"], limits=limits).findings
    print([finding.rule for finding in found])
"""
    assert output_of(code, installed).split("\n")[:2] == ["['ACME101']", "[]"]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('code = "ACME101"', 'code = "SD999"', "give it a code such as ACME101"),
        ("class TooManyCalls(Rule):", "class TooManyCalls:", "is not a Rule"),
    ],
)
def test_what_is_no_rule_is_refused(old: str, new: str, message: str, installed: Path) -> None:
    module = installed / "acme_saldiag.py"
    module.write_text(module.read_text().replace(old, new))
    code = f"""
from saldiag.rules.engine.registry import all_rules
try:
    all_rules()
except RuntimeError as error:
    print({message!r} in str(error))
"""
    assert output_of(code, installed) == "True\n"


def test_a_model_has_a_name_on_the_command_line(installed: Path) -> None:
    code = """
from saldiag.subject.models.spec import parse_model_spec
print(type(parse_model_spec("acme-net").registered).__name__)
print(parse_model_spec("acme-net:deep").variant)
"""
    assert output_of(code, installed) == "Model\n('deep',)\n"


@pytest.mark.tensorflow
def test_an_intervention_is_found_by_its_name_and_by_words(installed: Path) -> None:
    code = """
from saldiag.experiments.interventions.base import intervention_named
from saldiag.experiments.search.suspicion import interventions_for_words
print(intervention_named("acme-warm-up").__name__)
print("acme-warm-up" in interventions_for_words("warm up the rate"))
"""
    assert output_of(code, installed) == "WarmUp\nTrue\n"
