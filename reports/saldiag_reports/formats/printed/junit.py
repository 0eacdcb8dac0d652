"""JUnit XML, as Jenkins, GitLab and others read it: a suite per diagnosis, a case per rule."""

from __future__ import annotations

import math
from collections.abc import Sequence
from xml.etree import ElementTree as ET

from saldiag.core.findings.finding import SEVERITIES, Finding, Severity, at_least
from saldiag.core.wording import grouped_count, plain
from saldiag_reports.content import hypothesis_text
from saldiag_reports.content.wording import verdict_headline
from saldiag_reports.formats.printed_run import PrintedFormat, PrintedRun

VERDICT_CASE = "verdict"
"""The case that fails if the model does not learn, whatever the rules found."""


def render_junit(runs: Sequence[PrintedRun], fail_on: Severity = "error") -> str:
    """All runs as one document; a case fails if it makes the exit code 1.

    Findings below ``fail_on`` are in the output of their case. A rule that could not judge is
    skipped, with the reason. The text is ASCII, which every encoding can represent.
    """
    suites = [_suite_of_run(run, fail_on) for run in runs]
    root = ET.Element("testsuites", {"name": "saldiag", **_suite_sums(suites)})
    root.extend(suites)
    ET.indent(root)
    document: bytes = ET.tostring(root, encoding="us-ascii", xml_declaration=True)
    return document.decode("ascii") + "\n"


FORMAT = PrintedFormat(
    "JUnit XML: a test suite per model, a test case per rule.", render_junit, needs_rules=True
)


def _suite_of_run(run: PrintedRun, fail_on: Severity) -> ET.Element:
    diagnosis, info = run.data.diagnosis, run.data.info
    cases = [_verdict_case(run), *_rule_cases(run, fail_on)]
    tags = {"failures": "failure", "skipped": "skipped"}
    attributes = {
        "name": run.model_name,
        "tests": str(len(cases)),
        "errors": "0",
        **{key: str(sum(c.find(tag) is not None for c in cases)) for key, tag in tags.items()},
        "time": _seconds_text(diagnosis.timings.get("total", 0.0)),
        "timestamp": plain(info.started),
    }
    suite = ET.Element("testsuite", attributes)
    properties = ET.SubElement(suite, "properties")
    for name, value in _suite_properties(run):
        ET.SubElement(properties, "property", {"name": name, "value": plain(value)})
    suite.extend(cases)
    return suite


def _suite_properties(run: PrintedRun) -> list[tuple[str, str]]:
    diagnosis = run.data.diagnosis
    cause = diagnosis.root_cause
    return [
        ("verdict", diagnosis.verdict),
        ("root cause", f"{cause.rule} {cause.name}" if cause else "none"),
        ("loss", diagnosis.subject.loss),
        ("parameters", str(diagnosis.subject.parameters)),
        ("saldiag", run.data.info.versions.get("saldiag", "")),
    ]


def _verdict_case(run: PrintedRun) -> ET.Element:
    case = _test_case(run, VERDICT_CASE)
    if run.data.diagnosis.verdict == "does_not_learn":
        headline = plain(verdict_headline(run.data.diagnosis))
        failure = ET.SubElement(case, "failure", {"type": "does_not_learn", "message": headline})
        failure.text = "\n".join([headline, *hypothesis_text.run_sentences(run.data)])
    return case


def _rule_cases(run: PrintedRun, fail_on: Severity) -> list[ET.Element]:
    """A case per rule that was selected, that found something, or that could not judge."""
    names = {rule.code: rule.name for rule in run.rules}
    diagnosis = run.data.diagnosis
    names |= {f.rule: f.name for f in diagnosis.findings if f.rule not in names}
    reasons = {skipped.rule: skipped.reason for skipped in diagnosis.skipped}
    names |= {code: "" for code in reasons if code not in names}
    return [
        _rule_case(run, code, names[code], reasons.get(code), fail_on) for code in sorted(names)
    ]


def _rule_case(
    run: PrintedRun, code: str, name: str, skip_reason: str | None, fail_on: Severity
) -> ET.Element:
    case = _test_case(run, f"{code} {name}".rstrip())
    findings = run.findings_of(code)
    failing = [finding for finding in findings if at_least(finding.severity, fail_on)]
    passing = [finding for finding in findings if finding not in failing]
    if failing:
        _add_failure(case, run, failing)
    elif skip_reason is not None:
        ET.SubElement(case, "skipped", {"message": plain(skip_reason)})
    if passing:
        ET.SubElement(case, "system-out").text = "\n\n".join(map(run.full_text, passing))
    return case


def _add_failure(case: ET.Element, run: PrintedRun, findings: Sequence[Finding]) -> None:
    """Add all findings as one element: readers of the format show only the first."""
    worst = min(findings, key=lambda finding: SEVERITIES.index(finding.severity))
    others = len(findings) - 1
    more = f" (and {grouped_count(others, 'more finding')})" if others else ""
    proof = run.proof_text(worst)
    message = plain(worst.message) + (f" {proof}." if proof else "") + more
    failure = ET.SubElement(case, "failure", {"type": worst.severity, "message": message})
    failure.text = "\n\n".join(map(run.full_text, findings))


def _test_case(run: PrintedRun, name: str) -> ET.Element:
    attributes = {"classname": f"saldiag.{run.model_name}", "name": plain(name)}
    return ET.Element("testcase", attributes)


def _suite_sums(suites: Sequence[ET.Element]) -> dict[str, str]:
    sums = {
        key: str(sum(int(suite.get(key, "0")) for suite in suites))
        for key in ("tests", "failures", "errors")
    }
    return {**sums, "time": _seconds_text(sum(float(suite.get("time", "0")) for suite in suites))}


def _seconds_text(value: float) -> str:
    return f"{value:.3f}" if math.isfinite(value) and value >= 0 else "0.000"
