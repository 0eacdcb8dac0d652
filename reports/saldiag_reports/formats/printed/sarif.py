"""SARIF 2.1.0 (OASIS, 2020), for code scanning on GitHub."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from saldiag.core.documentation import rule_url
from saldiag.core.files.jsonio import jsonable
from saldiag.core.findings.finding import Finding, Severity
from saldiag.core.measurement import Source
from saldiag.core.wording import plain, plain_lines
from saldiag_reports.formats.printed_run import (
    MAX_LISTED_LAYERS,
    PrintedFormat,
    PrintedRun,
    RuleText,
    json_escape,
)
from saldiag_reports.formats.sarif_fixes import fix_objects
from saldiag_reports.formats.sarif_paths import artifact_location

SCHEMA = (
    "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
)
FINGERPRINT = "saldiagFinding/v1"
"""Name and version of the fingerprint that identifies a finding over several runs."""
LEVELS: dict[Severity, str] = {"error": "error", "warning": "warning", "info": "note"}
"""SARIF's level of each severity."""
PROBLEMS: dict[Severity, str] = {
    "error": "error",
    "warning": "warning",
    "info": "recommendation",
}
"""GitHub's ``problem.severity`` of each severity."""


def render_sarif(runs: Sequence[PrintedRun], _fail_on: Severity = "error") -> str:
    """All diagnoses as one SARIF run: code scanning accepts one run per tool and upload.

    The text is ASCII, which every encoding can represent.
    """
    rules = _rules_by_code(runs)
    order = {code: index for index, code in enumerate(rules)}
    sarif_run = {
        "tool": {"driver": _tool_driver(runs, list(rules.values()))},
        "invocations": [_invocation_object(runs)],
        "results": list(_result_objects(runs, order)),
        "columnKind": "unicodeCodePoints",
        "properties": {"diagnoses": [_run_summary(run) for run in runs]},
    }
    log = {"$schema": SCHEMA, "version": "2.1.0", "runs": [sarif_run]}
    return json.dumps(jsonable(log), indent=2, allow_nan=False) + "\n"


FORMAT = PrintedFormat(
    "SARIF 2.1.0 with the rules' documentation, for code scanning.",
    render_sarif,
    needs_rules=True,
    unencodable=json_escape,
)


def _tool_driver(runs: Sequence[PrintedRun], rules: list[dict[str, Any]]) -> dict[str, Any]:
    version = next((v for run in runs if (v := run.data.info.versions.get("saldiag"))), None)
    return {"name": "saldiag", **({"version": plain(version)} if version else {}), "rules": rules}


def _rules_by_code(runs: Sequence[PrintedRun]) -> dict[str, dict[str, Any]]:
    """Each rule once, by code; a rule that no longer exists gets its name from its finding."""
    known = {rule.code: _rule_descriptor(rule) for run in runs for rule in run.rules}
    for run in runs:
        for finding in run.data.diagnosis.findings:
            known.setdefault(finding.rule, {"id": plain(finding.rule), "name": plain(finding.name)})
        for skipped in run.data.diagnosis.skipped:
            known.setdefault(skipped.rule, {"id": plain(skipped.rule)})
    return dict(sorted(known.items()))


def _rule_descriptor(rule: RuleText) -> dict[str, Any]:
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


def _invocation_object(runs: Sequence[PrintedRun]) -> dict[str, Any]:
    """Rules that could not judge become notes: they have not passed."""
    notes = [
        {
            "level": "note",
            "message": {"text": _without_links(f"{run.model_name}: {skipped.rule} could not judge: "
                                          f"{plain(skipped.reason)}")},
            "associatedRule": {"id": plain(skipped.rule)},
        }
        for run in runs
        for skipped in run.data.diagnosis.skipped
    ]  # fmt: skip
    succeeded = all(run.data.info.status != "failed" for run in runs)
    return {"executionSuccessful": succeeded, "toolExecutionNotifications": notes}


def _run_summary(run: PrintedRun) -> dict[str, Any]:
    diagnosis = run.data.diagnosis
    cause = plain(diagnosis.root_cause.rule) if diagnosis.root_cause else None
    return {"model": run.model_name, "verdict": diagnosis.verdict, "rootCause": cause}


def _result_objects(
    runs: Sequence[PrintedRun], order: Mapping[str, int]
) -> Iterator[dict[str, Any]]:
    seen: dict[str, int] = {}
    for run in runs:
        for finding in run.data.diagnosis.findings:
            fingerprint = _finding_fingerprint(run, finding)
            seen[fingerprint] = seen.get(fingerprint, 0) + 1
            yield {
                "ruleId": plain(finding.rule),
                "ruleIndex": order[finding.rule],
                "level": LEVELS[finding.severity],
                "message": {"text": _without_links(run.message_and_fix(finding))},
                "locations": [_location_object(run, finding)],
                "partialFingerprints": {FINGERPRINT: f"{fingerprint}:{seen[fingerprint]}"},
                **({"fixes": fixes} if (fixes := fix_objects(finding)) else {}),
                "properties": _result_properties(run, finding),
            }


def _result_properties(run: PrintedRun, finding: Finding) -> dict[str, Any]:
    properties = {"model": run.model_name, "confidence": finding.confidence}
    if finding.explained_by:
        properties["explainedBy"] = plain(finding.explained_by)
    if finding.confirmed_by:
        properties["confirmedBy"] = plain(finding.confirmed_by)
    return properties


def _location_object(run: PrintedRun, finding: Finding) -> dict[str, Any]:
    layers = dict.fromkeys(plain(layer) for layer in finding.layers[:MAX_LISTED_LAYERS])
    logical = [
        {"name": layer.rpartition("/")[2], "fullyQualifiedName": layer, "kind": "layer"}
        for layer in layers
    ]
    logical = logical or [{"fullyQualifiedName": run.model_name, "kind": "model"}]
    source = run.annotated_line(finding)
    if source is None:
        return {"logicalLocations": logical}
    return {"physicalLocation": _physical_location(source), "logicalLocations": logical}


def _physical_location(source: Source) -> dict[str, Any]:
    location: dict[str, Any] = {"artifactLocation": artifact_location(source.file)}
    if source.line > 0:
        location["region"] = {"startLine": source.line}
        if source.text:
            location["region"]["snippet"] = {"text": plain(source.text)}
    return location


def _finding_fingerprint(run: PrintedRun, finding: Finding) -> str:
    """Identifies a finding even if lines were added above it or its numbers have changed."""
    source = finding.source
    where = (source.file, source.text) if source else ()
    parts = (finding.rule, run.data.diagnosis.subject.model, *finding.layers, *where)
    joined = "\0".join(parts).encode("utf-8", "surrogatepass")
    return hashlib.sha256(joined).hexdigest()[:32]


def _without_links(text: str) -> str:
    """``text`` without links as SARIF defines them: ``[word](target)`` (section 3.11.6)."""
    return plain_lines(text).replace("](", "] (")
