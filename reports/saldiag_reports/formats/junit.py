"""JUnit XML, as Jenkins, GitLab and most others read it: a suite a diagnosis, a case a rule."""

from __future__ import annotations

import math
from collections.abc import Sequence
from xml.etree import ElementTree as ET

from saldiag.core.findings.finding import SEVERITIES, Finding, Severity, at_least
from saldiag.core.wording import grouped_count, visible_text
from saldiag_reports.content import hypothesis_text
from saldiag_reports.content.wording import headline
from saldiag_reports.formats.ci import Checked

VERDICT = "verdict"
"""The case that fails where the model does not learn, whatever the rules found."""


def render_junit(checked: Sequence[Checked], fail_on: Severity = "error") -> str:
    """All diagnoses as one document; a case fails for what makes the exit code 1.

    A finding below ``fail_on`` is told in the case's output. A rule that could not judge is
    skipped, with the reason. The text is plain ASCII, which every encoding can hold.
    """
    suites = [_suite(one, fail_on) for one in checked]
    root = ET.Element("testsuites", {"name": "saldiag", **_sums(suites)})
    root.extend(suites)
    ET.indent(root)
    document: bytes = ET.tostring(root, encoding="us-ascii", xml_declaration=True)
    return document.decode("ascii") + "\n"


def _suite(one: Checked, fail_on: Severity) -> ET.Element:
    diagnosis, info = one.data.diagnosis, one.data.info
    cases = [_verdict(one), *_cases(one, fail_on)]
    counted = {"failures": "failure", "skipped": "skipped"}
    attributes = {
        "name": one.model,
        "tests": str(len(cases)),
        "errors": "0",
        **{key: str(sum(c.find(tag) is not None for c in cases)) for key, tag in counted.items()},
        "time": _seconds(diagnosis.timings.get("total", 0.0)),
        "timestamp": visible_text(info.started),
    }
    suite = ET.Element("testsuite", attributes)
    properties = ET.SubElement(suite, "properties")
    for name, value in _properties(one):
        ET.SubElement(properties, "property", {"name": name, "value": visible_text(value)})
    suite.extend(cases)
    return suite


def _properties(one: Checked) -> list[tuple[str, str]]:
    diagnosis = one.data.diagnosis
    cause = diagnosis.root_cause
    return [
        ("verdict", diagnosis.verdict),
        ("root cause", f"{cause.rule} {cause.name}" if cause else "none"),
        ("loss", diagnosis.subject.loss),
        ("parameters", str(diagnosis.subject.parameters)),
        ("saldiag", one.data.info.versions.get("saldiag", "")),
    ]


def _verdict(one: Checked) -> ET.Element:
    case = _case(one, VERDICT)
    if one.data.diagnosis.verdict == "does_not_learn":
        told = visible_text(headline(one.data.diagnosis))
        failure = ET.SubElement(case, "failure", {"type": "does_not_learn", "message": told})
        failure.text = "\n".join([told, *hypothesis_text.of(one.data)])
    return case


def _cases(one: Checked, fail_on: Severity) -> list[ET.Element]:
    names = {rule.code: rule.name for rule in one.rules}
    diagnosis = one.data.diagnosis
    names |= {f.rule: f.name for f in diagnosis.findings if f.rule not in names}
    reasons = {skipped.rule: skipped.reason for skipped in diagnosis.skipped}
    names |= {code: "" for code in reasons if code not in names}
    return [
        _rule(one, code, names[code], reasons.get(code), fail_on) for code in sorted(names)
    ]  # fmt: skip


def _rule(
    one: Checked, code: str, name: str, reason: str | None, fail_on: Severity
) -> ET.Element:  # fmt: skip
    case = _case(one, f"{code} {name}".rstrip())
    found = one.of_rule(code)
    grave = [finding for finding in found if at_least(finding.severity, fail_on)]
    light = [finding for finding in found if finding not in grave]
    if grave:
        _failure(case, one, grave)
    elif reason is not None:
        ET.SubElement(case, "skipped", {"message": visible_text(reason)})
    if light:
        ET.SubElement(case, "system-out").text = "\n\n".join(map(one.account, light))
    return case


def _failure(case: ET.Element, one: Checked, found: Sequence[Finding]) -> None:
    """All in one element: readers of the format show the first alone."""
    gravest = min(found, key=lambda finding: SEVERITIES.index(finding.severity))
    more = f" (and {grouped_count(len(found) - 1, 'finding')} more)" if len(found) > 1 else ""
    proof = one.proof(gravest)
    told = visible_text(gravest.message) + (f" {proof}." if proof else "") + more
    attributes = {"type": gravest.severity, "message": told}
    ET.SubElement(case, "failure", attributes).text = "\n\n".join(map(one.account, found))


def _case(one: Checked, name: str) -> ET.Element:
    return ET.Element("testcase", {"classname": f"saldiag.{one.model}", "name": visible_text(name)})


def _sums(suites: Sequence[ET.Element]) -> dict[str, str]:
    sums = {
        key: str(sum(int(suite.get(key, "0")) for suite in suites))
        for key in ("tests", "failures", "errors")
    }
    return {**sums, "time": _seconds(sum(float(suite.get("time", "0")) for suite in suites))}


def _seconds(value: float) -> str:
    return f"{value:.3f}" if math.isfinite(value) and value >= 0 else "0.000"
