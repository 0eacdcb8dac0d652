"""What every rule keeps to, checked over the whole registry; no rule is named here."""

from __future__ import annotations

import importlib
import json
import math
import pkgutil
import re
from types import ModuleType

import pytest

from saldiag.core.files.jsonio import dumps, restore
from saldiag.core.findings.diagnosis import Diagnosis
from saldiag.core.findings.rule import Rule
from saldiag.core.measurement import Measurements, OverfitHistory
from saldiag.rules.engine.engine import diagnose
from saldiag.rules.engine.explain import HEADINGS, explain, to_text
from saldiag.rules.engine.registry import all_rules
from saldiag.rules.verdicts.overfit import verdict_of
from tests import faults
from tests.support.command_line import run_python

RULES = all_rules()
FAULTS: dict[str, ModuleType] = {
    module.name[:5].upper(): importlib.import_module(f"tests.faults.{module.name}")
    for module in pkgutil.iter_modules(faults.__path__)
    if module.name.startswith("sd")
}
every_rule = pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.code)


def judged(measured: Measurements) -> Diagnosis:
    return diagnose(measured, verdict=verdict_of(measured.get(OverfitHistory))[0])


def test_every_rule_has_a_fault_and_every_fault_a_rule() -> None:
    assert sorted(FAULTS) == [rule.code for rule in RULES]


@every_rule
def test_the_broken_one_raises_it_as_the_root_cause(rule: type[Rule]) -> None:
    fault = FAULTS[rule.code]
    diagnosis = judged(fault.broken())
    found = {finding.rule for finding in diagnosis.findings}
    assert rule.code in found
    assert diagnosis.root_cause is not None
    if getattr(fault, "ROOT", True):
        assert diagnosis.root_cause.rule == rule.code, [f.message for f in diagnosis.findings]
    else:
        assert fault.__doc__
        assert "not the root" in fault.__doc__.lower(), "say why"


@every_rule
def test_the_fixed_twin_raises_none_at_all(rule: type[Rule]) -> None:
    diagnosis = judged(FAULTS[rule.code].fixed())
    assert [finding.message for finding in diagnosis.findings] == []
    assert diagnosis.root_cause is None
    assert rule.code not in {skipped.rule for skipped in diagnosis.skipped}, "judged, not skipped"


@every_rule
def test_the_fixed_twin_measures_what_the_broken_one_does(rule: type[Rule]) -> None:
    fault = FAULTS[rule.code]
    assert fault.broken().found.keys() == fault.fixed().found.keys()


@pytest.mark.parametrize("code", FAULTS)
def test_no_rule_breaks_on_any_fault(code: str) -> None:
    for measured in (FAULTS[code].broken(), FAULTS[code].fixed()):
        broken = [s for s in judged(measured).skipped if s.reason.startswith("error in rule")]
        assert broken == []


@every_rule
def test_a_finding_says_what_where_how_much_and_what_next(rule: type[Rule]) -> None:
    findings = [f for f in judged(FAULTS[rule.code].broken()).findings if f.rule == rule.code]
    for finding in findings:
        assert finding.name == rule.name
        assert 0 < finding.confidence <= 1
        assert not re.search(r"\b(may|might|could|probably|perhaps)\b", finding.message)
        assert "\n" not in finding.message
        assert len(finding.message) < 500
        assert finding.fix.strip()
        assert finding.evidence
        if rule.thresholds:
            threshold = finding.evidence["threshold"]
            assert math.isfinite(threshold)
            assert "threshold" in finding.message, "the limit stands beside the measured value"


@every_rule
def test_it_survives_the_run_directory(rule: type[Rule]) -> None:
    diagnosis = judged(FAULTS[rule.code].broken())
    text = dumps(diagnosis)
    assert dumps(restore(Diagnosis, json.loads(text))) == text


@every_rule
def test_it_is_documented(rule: type[Rule]) -> None:
    explanation = explain(rule.code)
    assert tuple(explanation.sections) == HEADINGS
    assert all(explanation.sections.values())
    assert explanation.title.endswith(".")
    assert re.search(r"\b(19|20)\d\d\b", explanation.sections["Threshold"]), "source with year"
    for heading in ("Example", "Use instead"):
        blocks = re.findall(r"```python\n(.*?)```", explanation.sections[heading], re.DOTALL)
        assert len(blocks) == 1
        compile(blocks[0], rule.code, "exec")
    assert to_text(explanation).startswith(f"# {rule.code} {rule.name}\n\n")


@every_rule
def test_its_thresholds_are_documented_and_finite(rule: type[Rule]) -> None:
    text = explain(rule.code).sections["Threshold"]
    documented = {
        name: float(value)
        for name, value in re.findall(r"^- `(\w+)` = ([\d.e+-]+):", text, re.MULTILINE)
    }
    assert documented == rule.thresholds
    assert all(math.isfinite(value) for value in rule.thresholds.values())


@every_rule
def test_its_names_fit(rule: type[Rule]) -> None:
    assert re.fullmatch(r"SD\d{3}", rule.code)
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)+", rule.name)
    assert not re.match(r"(no|not|check|avoid|missing)-", rule.name), "reads well after 'allow'"
    module = rule.__module__.rsplit(".", 1)[-1]
    assert module == f"{rule.code.lower()}_{rule.name.replace('-', '_')}"
    assert explain(rule.name) == explain(rule.code.lower())


def test_what_rules_explain_exists_and_has_no_circle() -> None:
    explains = {rule.code: set(rule.explains) for rule in RULES}
    assert set().union(*explains.values()) <= explains.keys()
    while explains:
        free = {code for code, others in explains.items() if not others & explains.keys()}
        assert free, f"these explain each other in a circle: {sorted(explains)}"
        explains = {code: others for code, others in explains.items() if code not in free}


def test_rules_do_without_tensorflow() -> None:
    code = (
        "import sys; from saldiag.rules.engine.registry import all_rules; all_rules();"
        "import saldiag.rules.engine.engine, saldiag.rules.engine.explain;"
        "import saldiag.rules.verdicts.overfit;"
        "sys.exit(any(m in sys.modules for m in ('tensorflow', 'keras', 'scipy')))"
    )
    assert run_python(code).returncode == 0
