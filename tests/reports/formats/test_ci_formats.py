"""JUnit, SARIF and GitHub's commands: valid, whole, and safe from what names hold."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from xml.etree import ElementTree as ET

import jsonschema
import pytest
import xmlschema
from hypothesis import given
from hypothesis import strategies as st

from saldiag.core.findings.diagnosis import Diagnosis, SubjectSummary
from saldiag.core.findings.finding import Skipped
from saldiag.core.measurement import ProgramPlaces, Source
from saldiag_reports.formats.printed.github import render_github
from saldiag_reports.formats.printed.junit import render_junit
from saldiag_reports.formats.printed.sarif import FINGERPRINT, render_sarif
from saldiag_reports.formats.printed_run import PrintedRun, RuleText
from saldiag_reports.formats.sarif_paths import artifact_location
from saldiag_reports.gallery import runs
from tests.support import hostile_report as hostile
from tests.support.command_line import run_python
from tests.support.findings import finding

SCHEMAS = Path(__file__).parents[2] / "schemas"
XSD = xmlschema.XMLSchema(str(SCHEMAS / "junit-10.xsd"))
SARIF = json.loads((SCHEMAS / "sarif-2.1.0-rtm.5.json").read_text(encoding="utf-8"))
BUILDERS = {**runs.SAMPLES, "hostile": hostile.hostile}
SEVERITIES = ("error", "warning", "info")


def rule(code="SD101", name="single-channel-softmax"):
    return RuleText(code, name, "wiring", "error", "A title.", "What it does.", "# Help")


def checked(*findings, model="model", verdict="not_tested", skipped=(), rules=(), places=None):
    data = runs.learning_run()
    diagnosis = Diagnosis(SubjectSummary(model, "mse", 1, 1), verdict, None, findings, skipped)
    measured = data.measured.with_(places) if places else data.measured
    return PrintedRun(dataclasses.replace(data, diagnosis=diagnosis, measured=measured), rules)


def parsed(text):
    """A JUnit document, checked against its schema."""
    XSD.validate(text)
    return ET.fromstring(text)


def log(text):
    """A SARIF log's one run, checked against its schema."""
    assert text.isascii()
    value = json.loads(text, parse_constant=pytest.fail)
    jsonschema.Draft4Validator(SARIF).validate(value)
    (run,) = value["runs"]
    return run


def commands(text):
    """GitHub's commands as its runner reads them: name, properties and message."""
    assert text.endswith("\n") or not text
    found = []
    for line in text.splitlines():  # also at U+2028 and friends
        match = re.fullmatch(r"::(error|warning|notice) (.*?)::(.*)", line)
        assert match, line
        pairs = [pair.partition("=") for pair in match[2].split(",")]
        found.append((match[1], {key: back(value) for key, _, value in pairs}, back(match[3])))
    return found


def back(text):
    """What the runner makes of an escaped text."""
    for mark, escape in (("\r", "%0D"), ("\n", "%0A"), (":", "%3A"), (",", "%2C"), ("%", "%25")):
        text = text.replace(escape, mark)
    return text


def cases(suite):
    return {case.get("name").split()[0]: case for case in suite.iter("testcase")}


@pytest.mark.parametrize("name", sorted(BUILDERS))
@pytest.mark.parametrize("fail_on", SEVERITIES)
def test_every_sample_is_valid_in_every_format(name, fail_on):
    one = PrintedRun(BUILDERS[name](), (rule(),))
    two = PrintedRun(runs.learning_run(), (rule(), rule("SD201", "gradient-cut")))
    root = parsed(render_junit([one, two], fail_on))
    assert len(root) == 2
    failed = {suite.get("failures") != "0" for suite in root[:1]}
    assert failed == {one.data.diagnosis.failed(fail_on)}
    run = log(render_sarif([one, two]))
    together = len(one.data.diagnosis.findings) + len(two.data.diagnosis.findings)
    assert len(run["results"]) == together
    assert len(commands(render_github([one, two]))) == together


def test_a_case_fails_for_what_makes_the_exit_code_1():
    found = [
        finding(),
        finding("SD201", severity="warning", message="Hm."),
        finding("SD301", severity="info", message="By the way."),
    ]
    one = checked(*found, skipped=(Skipped("SD401", "nothing measured"),), rules=(rule("SD501"),))
    failing = {"error": {"SD101"}, "warning": {"SD101", "SD201"}}
    for fail_on, expected in failing.items():
        (suite,) = parsed(render_junit([one], fail_on))
        by_code = cases(suite)
        assert list(by_code) == ["verdict", "SD101", "SD201", "SD301", "SD401", "SD501"]
        assert {c for c, case in by_code.items() if case.find("failure") is not None} == expected
        assert "By the way." in by_code["SD301"].findtext("system-out")
        assert by_code["SD401"].find("skipped").get("message") == "nothing measured"
        assert len(by_code["SD501"]) == 0
        assert (suite.get("tests"), suite.get("skipped"), suite.get("errors")) == ("6", "1", "0")
        assert suite.get("failures") == str(len(expected))


def test_a_failure_tells_what_where_and_what_next():
    where = Source("train.py", 7, "x = Dense(1)(x)")
    one = checked(finding("SD101", "a/b", source=where), finding(message="And this."))
    (suite,) = parsed(render_junit([one]))
    failure = cases(suite)["SD101"].find("failure")
    assert failure.get("message") == "It is wrong. (and 1 more finding)"
    for told in ("Layers: a/b", "Source: train.py:7", "x = Dense(1)(x)", "Fix: Change it.", "And"):
        assert told in failure.text


def test_a_model_that_does_not_learn_fails_without_a_finding():
    one = checked(verdict="does_not_learn", model="net")
    (suite,) = parsed(render_junit([one]))
    assert suite.get("failures") == "1"
    assert cases(suite)["verdict"].find("failure").get("message") == "net does not learn"
    assert commands(render_github([one])) == [("error", {"title": "saldiag"}, "net does not learn")]
    assert log(render_sarif([one]))["properties"]["diagnoses"] == [
        {"model": "net", "verdict": "does_not_learn", "rootCause": None}
    ]


def test_sarif_holds_rule_place_and_a_lasting_fingerprint():
    where = Source("src/my train.py", 7, "x = Dense(1)(x)")
    one = checked(finding("SD101", "block/softmax", source=where), rules=(rule(),))
    run = log(render_sarif([one]))
    (described,) = run["tool"]["driver"]["rules"]
    assert described["shortDescription"]["text"] == "A title."
    assert described["fullDescription"]["text"] == "What it does."
    assert described["help"]["markdown"] == "# Help"
    (result,) = run["results"]
    assert (result["ruleId"], result["ruleIndex"], result["level"]) == ("SD101", 0, "error")
    assert result["message"]["text"] == "It is wrong.\nFix: Change it."
    (location,) = result["locations"]
    assert location["logicalLocations"] == [
        {"name": "softmax", "fullyQualifiedName": "block/softmax", "kind": "layer"}
    ]
    assert location["physicalLocation"] == {
        "artifactLocation": {"uri": "src/my%20train.py", "uriBaseId": "%SRCROOT%"},
        "region": {"startLine": 7, "snippet": {"text": "x = Dense(1)(x)"}},
    }
    below = dataclasses.replace(where, line=19)
    moved = finding("SD101", "block/softmax", source=below, message="Now 0.7 is.")
    other = finding("SD101", "block/other", source=where)
    again = log(render_sarif([checked(moved, moved, other)]))["results"]
    marks = [r["partialFingerprints"][FINGERPRINT] for r in (result, *again)]
    assert marks[0] == marks[1]
    assert len(set(marks)) == 3


def test_a_finding_without_a_line_is_put_where_the_model_is_trained():
    trained = Source("train.py", 30, "model.fit(x, y)")
    one = checked(finding(), places=ProgramPlaces(None, trained))
    (result,) = log(render_sarif([one]))["results"]
    region = result["locations"][0]["physicalLocation"]["region"]
    assert region["startLine"] == 30
    assert commands(render_github([one]))[0][1]["line"] == "30"
    (nowhere,) = log(render_sarif([checked(finding())]))["results"]
    assert "physicalLocation" not in nowhere["locations"][0]
    assert set(commands(render_github([checked(finding())]))[0][1]) == {"title"}


def test_layers_that_look_alike_are_told_once():
    (result,) = log(render_sarif([checked(finding("SD101", "a", "a", "\x1b", r"\x1b"))]))["results"]
    assert len(result["locations"][0]["logicalLocations"]) == 2


def test_a_rule_that_could_not_judge_is_told_in_sarif():
    one = checked(skipped=(Skipped("SD401", "nothing measured"),))
    (invocation,) = log(render_sarif([one]))["invocations"]
    (note,) = invocation["toolExecutionNotifications"]
    assert note["associatedRule"] == {"id": "SD401"}
    assert "nothing measured" in note["message"]["text"]


def test_github_gets_levels_lines_and_escapes():
    where = Source("a,b:c%.py", 3)
    found = [
        finding(message="100 % of\n::error::it", source=where),
        finding(message="Hm", severity="warning"),
        finding(message="So", severity="info"),
    ]
    text = render_github([checked(*found, model="net")])
    first = text.splitlines()[0]
    assert first == (
        "::error file=a%2Cb%3Ac%25.py,line=3,title=SD101 single-channel-softmax (net)"
        "::100 %25 of%0A::error::it%0AFix: Change it."
    )
    assert [name for name, _, _ in commands(text)] == ["error", "warning", "notice"]


def test_sarif_makes_no_link_of_a_name():
    one = checked(finding(message="[free](https://example.org/) layer"))
    (result,) = log(render_sarif([one]))["results"]
    assert "](" not in result["message"]["text"]


ANY = st.text(st.characters(exclude_categories=()), max_size=40) | st.sampled_from(
    [*hostile.NAMES, "]]>", "<![CDATA[", "\ufffe\uffff", "\x85\u2028::set-output name=x::y",
     "%0A::error::x", "&#0;", "\x1b]8;;http://x\x07", "::", ",line=1", "%25"]
)  # fmt: skip


@given(ANY, ANY, ANY, ANY, st.sampled_from(SEVERITIES), st.integers(-1, 99))
def test_any_text_is_well_formed_in_every_format(message, layer, file, model, severity, line):
    where = Source(file, line, message)
    found = finding("SD101", layer, severity=severity, message=message, source=where)
    one = checked(found, model=model, skipped=(Skipped("SD201", message),))
    root = parsed(render_junit([one], severity))
    seen = "".join(root.itertext()) + "".join(v for e in root.iter() for v in e.attrib.values())
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u202e\ud800-\udfff]", seen)
    (result,) = log(render_sarif([one]))["results"]
    assert result["locations"]
    text = render_github([one])
    ((name, properties, told),) = commands(text)
    assert name == {"error": "error", "warning": "warning", "info": "notice"}[severity]
    assert set(properties) <= {"file", "line", "title"}
    assert told.endswith("Fix: Change it.")
    text.encode("utf-8")


@given(ANY)
def test_a_file_is_a_valid_uri(file):
    uri = artifact_location(file)["uri"]
    assert re.fullmatch(r"(file://)?[A-Za-z0-9%._~/-]*", uri)
    assert not re.search(r"%(?![0-9A-F]{2})", uri)


def test_no_renderer_needs_tensorflow():
    code = (
        "import sys\nfrom saldiag_reports.formats.printed import github, json, junit, sarif, text\n"
    )
    code += "sys.exit('tensorflow' in sys.modules or 'saldiag.rules' in sys.modules)"
    assert run_python(code).returncode == 0
