"""GitHub's workflow commands: findings as annotations of the lines that a change touches."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from saldiag.core.findings.finding import Severity
from saldiag.core.measurement import Source
from saldiag.core.wording import visible_text
from saldiag_reports.content.wording import headline
from saldiag_reports.formats.ci import Checked, title

COMMANDS: dict[Severity, str] = {"error": "error", "warning": "warning", "info": "notice"}
_DATA = {"%": "%25", "\r": "%0D", "\n": "%0A"}
_PROPERTY = {**_DATA, ":": "%3A", ",": "%2C"}


def render_github(checked: Sequence[Checked]) -> str:
    """One command a line for each finding, and nothing else: stdout is read by the runner.

    The gravest come first, because GitHub shows ten errors and ten warnings of a step.
    """
    return "".join(f"{line}\n" for one in checked for line in _commands(one))


def _commands(one: Checked) -> Iterator[str]:
    diagnosis = one.data.diagnosis
    if diagnosis.verdict == "does_not_learn" and not any(
        finding.severity == "error" for finding in diagnosis.findings
    ):
        yield command("error", {"title": "saldiag"}, visible_text(headline(diagnosis)))
    for finding in diagnosis.findings:
        properties = {**_position(one.place(finding)), "title": f"{title(finding)} ({one.model})"}
        yield command(COMMANDS[finding.severity], properties, one.advice(finding))


def _position(source: Source | None) -> dict[str, str]:
    if source is None:
        return {}
    line = {"line": str(source.line)} if source.line > 0 else {}
    return {"file": visible_text(source.file), **line}


def command(name: str, properties: Mapping[str, str], message: str) -> str:
    """A workflow command on one line; what would end it, or a part of it, is escaped."""
    listed = ",".join(f"{key}={escaped(value, _PROPERTY)}" for key, value in properties.items())
    return f"::{name} {listed}::{escaped(message, _DATA)}"


def escaped(text: str, marks: Mapping[str, str]) -> str:
    """``text`` with each mark replaced, once and for all of them."""
    return "".join(marks.get(character, character) for character in text)
