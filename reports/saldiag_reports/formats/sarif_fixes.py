"""A finding's diff as SARIF's ``fixes`` (section 3.55): whole lines, without those around them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from saldiag.core.findings.finding import Finding
from saldiag.core.wording import visible_lines
from saldiag_reports.formats.sarif_paths import artifact

_HUNK = re.compile(r"@@ -(\d+)(?:,(\d+))? \+(\d+)(?:,(\d+))? @@")


@dataclass
class _Replacement:
    """Lines ``start`` to ``end`` (without the last) of the old file become ``new``."""

    start: int
    end: int
    new: list[str] = field(default_factory=list)

    def as_sarif(self) -> dict[str, Any]:
        region = {
            "startLine": self.start,
            "startColumn": 1,
            "endLine": self.end,
            "endColumn": 1,
        }
        return {"deletedRegion": region, "insertedContent": {"text": "".join(self.new)}}


def fixes(finding: Finding) -> list[dict[str, Any]]:
    """One fix with all files of the finding's diff; none where it has no diff."""
    changes = [
        {
            "artifactLocation": artifact(file),
            "replacements": [replacement.as_sarif() for replacement in _replacements(diff)],
        }
        for file, diff in _by_file(finding)
    ]
    told = {"description": {"text": visible_lines(finding.fix)}, "artifactChanges": changes}
    return [told] if changes else []


def _by_file(finding: Finding) -> Iterator[tuple[str, list[str]]]:
    """The files in the order of the diff, each with its lines; names are those of the edits."""
    files = list(dict.fromkeys(edit.source.file for edit in finding.edits))
    parts: list[list[str]] = []
    left = 0
    for line in finding.diff.split("\n")[:-1]:
        if left <= 0 and line.startswith("--- "):
            parts.append([])
        if found := _HUNK.match(line) if left <= 0 else None:
            left = sum(int(found[n] or 1) for n in (2, 4))
        elif left > 0:
            left -= {" ": 2, "+": 1, "-": 1}.get(line[:1], 0)
        if parts:
            parts[-1].append(line)
    return zip(files, parts, strict=False)


def _replacements(diff: list[str]) -> Iterator[_Replacement]:
    """The runs of lines that are removed and added."""
    at, current = 0, None
    for line in diff[2:]:
        if found := _HUNK.match(line):
            at = int(found[1])
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
