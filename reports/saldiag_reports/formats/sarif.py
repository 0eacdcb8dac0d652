"""SARIF 2.1.0 (OASIS, 2020), as code scanning takes it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from saldiag.core.documentation import rule_url
from saldiag.core.files.jsonio import jsonable
from saldiag.core.findings.finding import Finding, Severity
from saldiag.core.measurement import Source
from saldiag_reports.content.wording import lines, plain
from saldiag_reports.formats.ci import MAX_LAYERS, Checked, RuleText
from saldiag_reports.formats.sarif_fixes import fixes
from saldiag_reports.formats.sarif_paths import artifact

SCHEMA = (
    "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
)
FINGERPRINT = "saldiagFinding/v1"
LEVELS: dict[Severity, str] = {"error": "error", "warning": "warning", "info": "note"}
PROBLEMS: dict[Severity, str] = {
    "error": "error",
    "warning": "warning",
    "info": "recommendation",
}


def render_sarif(checked: Sequence[Checked]) -> str:
    """All diagnoses as one run: code scanning takes one of a tool in an upload.

    The text is plain ASCII, which every encoding can hold.
    """
    rules = _rules(checked)
    order = {code: index for index, code in enumerate(rules)}
    run = {
        "tool": {"driver": _driver(checked, list(rules.values()))},
        "invocations": [_invocation(checked)],
        "results": list(_results(checked, order)),
        "columnKind": "unicodeCodePoints",
        "properties": {"diagnoses": [_summary(one) for one in checked]},
    }
    log = {"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}
    return json.dumps(jsonable(log), indent=2, allow_nan=False) + "\n"


def _driver(checked: Sequence[Checked], rules: list[dict[str, Any]]) -> dict[str, Any]:
    version = next((v for one in checked if (v := one.data.info.versions.get("saldiag"))), None)
    return {"name": "saldiag", **({"version": plain(version)} if version else {}), "rules": rules}


def _rules(checked: Sequence[Checked]) -> dict[str, dict[str, Any]]:
    """Each rule once, by code; a finding of a rule that is not known any more brings its name."""
    known = {rule.code: _rule(rule) for one in checked for rule in one.rules}
    for one in checked:
        for finding in one.data.diagnosis.findings:
            known.setdefault(finding.rule, {"id": plain(finding.rule), "name": plain(finding.name)})
        for skipped in one.data.diagnosis.skipped:
            known.setdefault(skipped.rule, {"id": plain(skipped.rule)})
    return dict(sorted(known.items()))


def _rule(rule: RuleText) -> dict[str, Any]:
    return {
        "id": rule.code,
        "name": rule.name,
        "shortDescription": {"text": rule.title},
        "fullDescription": {"text": rule.description or rule.title},
        "help": {"text": rule.help, "markdown": rule.help},
        **({"helpUri": address} if (address := rule_url(rule.code)) else {}),
        "defaultConfiguration": {"level": LEVELS[rule.severity]},
        "properties": {"problem.severity": PROBLEMS[rule.severity], "tags": [rule.family]},
    }


def _invocation(checked: Sequence[Checked]) -> dict[str, Any]:
    """A rule that could not judge is told here: it is no pass."""
    told = [
        {
            "level": "note",
            "message": {"text": _unlinked(f"{one.model}: {skipped.rule} could not judge: "
                                          f"{plain(skipped.reason)}")},
            "associatedRule": {"id": plain(skipped.rule)},
        }
        for one in checked
        for skipped in one.data.diagnosis.skipped
    ]  # fmt: skip
    whole = all(one.data.info.status != "failed" for one in checked)
    return {"executionSuccessful": whole, "toolExecutionNotifications": told}


def _summary(one: Checked) -> dict[str, Any]:
    diagnosis = one.data.diagnosis
    cause = plain(diagnosis.root_cause.rule) if diagnosis.root_cause else None
    return {"model": one.model, "verdict": diagnosis.verdict, "rootCause": cause}


def _results(checked: Sequence[Checked], order: Mapping[str, int]) -> Iterator[dict[str, Any]]:
    seen: dict[str, int] = {}
    for one in checked:
        for finding in one.data.diagnosis.findings:
            mark = _fingerprint(one, finding)
            seen[mark] = seen.get(mark, 0) + 1
            yield {
                "ruleId": plain(finding.rule),
                "ruleIndex": order[finding.rule],
                "level": LEVELS[finding.severity],
                "message": {"text": _unlinked(one.advice(finding))},
                "locations": [_location(one, finding)],
                "partialFingerprints": {FINGERPRINT: f"{mark}:{seen[mark]}"},
                **({"fixes": found} if (found := fixes(finding)) else {}),
                "properties": _properties(one, finding),
            }


def _properties(one: Checked, finding: Finding) -> dict[str, Any]:
    told = {"model": one.model, "confidence": finding.confidence}
    if finding.explained_by:
        told["explainedBy"] = plain(finding.explained_by)
    if finding.confirmed_by:
        told["confirmedBy"] = plain(finding.confirmed_by)
    return told


def _location(one: Checked, finding: Finding) -> dict[str, Any]:
    layers = dict.fromkeys(plain(layer) for layer in finding.layers[:MAX_LAYERS])
    logical = [
        {"name": layer.rpartition("/")[2], "fullyQualifiedName": layer, "kind": "layer"}
        for layer in layers
    ]
    logical = logical or [{"fullyQualifiedName": one.model, "kind": "model"}]
    source = one.place(finding)
    if source is None:
        return {"logicalLocations": logical}
    return {"physicalLocation": _physical(source), "logicalLocations": logical}


def _physical(source: Source) -> dict[str, Any]:
    place: dict[str, Any] = {"artifactLocation": artifact(source.file)}
    if source.line > 0:
        place["region"] = {"startLine": source.line}
        if source.text:
            place["region"]["snippet"] = {"text": plain(source.text)}
    return place


def _fingerprint(one: Checked, finding: Finding) -> str:
    """The same for the same finding when lines above it were added or numbers have changed."""
    source = finding.source
    where = (source.file, source.text) if source else ()
    parts = (finding.rule, one.data.diagnosis.subject.model, *finding.layers, *where)
    whole = "\0".join(parts).encode("utf-8", "surrogatepass")
    return hashlib.sha256(whole).hexdigest()[:32]


def _unlinked(text: str) -> str:
    """``text`` without what SARIF reads as a link: ``[word](place)`` (section 3.11.6)."""
    return lines(text).replace("](", "] (")
