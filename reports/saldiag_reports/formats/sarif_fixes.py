"""A finding's diff as SARIF's ``fixes`` (section 3.55): whole lines, without context lines."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from saldiag.core.findings.finding import Finding
from saldiag.core.wording import plain_lines
from saldiag_reports.formats.sarif_paths import artifact_location

_HUNK = re.compile(r"@@ -(\d+)(?:,(\d+))? \+(\d+)(?:,(\d+))? @@")


@dataclass
class _Replacement:
    """Lines of the old file that become other lines."""

    start: int
    """First line to replace, counted from 1."""
    end: int
    """One past the last line to replace; equal to ``start`` if lines are only inserted."""
    new: list[str] = field(default_factory=list)
    """The new lines, with their line ends."""

    def as_sarif(self) -> dict[str, Any]:
        region = {
            "startLine": self.start,
            "startColumn": 1,
            "endLine": self.end,
            "endColumn": 1,
        }
        return {"deletedRegion": region, "insertedContent": {"text": "".join(self.new)}}


def fix_objects(finding: Finding) -> list[dict[str, Any]]:
    """One fix with all files of the finding's diff; an empty list if it has no diff."""
    changes = [
        {
            "artifactLocation": artifact_location(file),
            "replacements": [replacement.as_sarif() for replacement in _line_replacements(diff)],
        }
        for file, diff in _diff_by_file(finding)
    ]
    fix = {"description": {"text": plain_lines(finding.fix)}, "artifactChanges": changes}
    return [fix] if changes else []


def _diff_by_file(finding: Finding) -> Iterator[tuple[str, list[str]]]:
    """Each file of the diff with the lines of its part; the names are those of the edits."""
    files = list(dict.fromkeys(edit.source.file for edit in finding.edits))
    parts: list[list[str]] = []
    left = 0
    for line in finding.diff.split("\n")[:-1]:
        if left <= 0 and line.startswith("--- "):
            parts.append([])
        if match := _HUNK.match(line) if left <= 0 else None:
            left = sum(int(match[n] or 1) for n in (2, 4))
        elif left > 0:
            left -= {" ": 2, "+": 1, "-": 1}.get(line[:1], 0)
        if parts:
            parts[-1].append(line)
    return zip(files, parts, strict=False)


def _line_replacements(diff: list[str]) -> Iterator[_Replacement]:
    """A replacement for each run of removed and added lines."""
    at, current = 0, None
    for line in diff[2:]:
        if match := _HUNK.match(line):
            at = int(match[1])
        elif line[:1] in ("-", "+"):
            current = current or _Replacement(at, at)
            if line[0] == "-":
                at += 1
                current.end = at
            else:
                current.new.append(f"{line[1:]}\n")
            continue
        elif line[:1] == " ":
            at += 1
        if current is not None:
            yield current
            current = None
    if current is not None:
        yield current
