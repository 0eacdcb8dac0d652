"""GitHub's workflow commands: findings as annotations of the lines that a change touches."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from saldiag.core.findings.finding import Severity
from saldiag.core.measurement import Source
from saldiag.core.wording import plain
from saldiag_reports.content.wording import verdict_headline
from saldiag_reports.formats.printed_run import PrintedFormat, PrintedRun, finding_title

COMMANDS: dict[Severity, str] = {"error": "error", "warning": "warning", "info": "notice"}
"""Workflow command of each severity."""

_ESCAPES_IN_MESSAGE = {"%": "%25", "\r": "%0D", "\n": "%0A"}
_ESCAPES_IN_PROPERTY = {**_ESCAPES_IN_MESSAGE, ":": "%3A", ",": "%2C"}


def render_github(runs: Sequence[PrintedRun], _fail_on: Severity = "error") -> str:
    """One workflow command per finding, a line each. There is no other output: GitHub reads it.

    The most severe findings come first, because GitHub shows ten errors and ten warnings per step.
    """
    return "".join(f"{line}\n" for run in runs for line in _workflow_commands(run))


FORMAT = PrintedFormat("GitHub workflow commands: findings as annotations.", render_github)


def _workflow_commands(run: PrintedRun) -> Iterator[str]:
    diagnosis = run.data.diagnosis
    if diagnosis.verdict == "does_not_learn" and not any(
        finding.severity == "error" for finding in diagnosis.findings
    ):
        yield workflow_command("error", {"title": "saldiag"}, plain(verdict_headline(diagnosis)))
    for finding in diagnosis.findings:
        properties = {
            **_position_properties(run.annotated_line(finding)),
            "title": f"{finding_title(finding)} ({run.model_name})",
        }
        yield workflow_command(COMMANDS[finding.severity], properties, run.message_and_fix(finding))


def _position_properties(source: Source | None) -> dict[str, str]:
    if source is None:
        return {}
    line = {"line": str(source.line)} if source.line > 0 else {}
    return {"file": plain(source.file), **line}


def workflow_command(name: str, properties: Mapping[str, str], message: str) -> str:
    """A workflow command on one line, with its separators escaped in the texts."""
    pairs = (
        f"{key}={replace_characters(value, _ESCAPES_IN_PROPERTY)}"
        for key, value in properties.items()
    )
    return f"::{name} {','.join(pairs)}::{replace_characters(message, _ESCAPES_IN_MESSAGE)}"


def replace_characters(text: str, replacements: Mapping[str, str]) -> str:
    """``text`` with each character replaced once; a replacement is not replaced again."""
    return "".join(replacements.get(character, character) for character in text)
