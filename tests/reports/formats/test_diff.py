"""The diff in every format: whole, where it belongs, and safe from what the file holds."""

from __future__ import annotations

import html
import json
from dataclasses import replace
from functools import cache

import pytest

from saldiag.core.findings.edit import Edit
from saldiag.core.findings.finding import Finding
from saldiag.core.measurement import Source
from saldiag.repair.diff import unified_diff
from saldiag_reports.content.wording import diff_lines
from saldiag_reports.formats.html import render_html
from saldiag_reports.formats.notebook import render_snippet
from saldiag_reports.formats.printed.json import render_json
from saldiag_reports.formats.printed.sarif import render_sarif
from saldiag_reports.formats.printed.text import render_text
from saldiag_reports.formats.printed_run import PrintedRun, finding_text
from saldiag_reports.formats.sarif_fixes import fix_objects
from saldiag_reports.gallery import runs
from tests.support.findings import finding
from tests.support.hostile_report import NAMES

BEFORE = b"one\ntwo\n--- three\n" + b"same\n" * 20 + b"four\nfive\n"
AFTER = b"ONE\ntwo\n++ new\n+++ three\n" + b"same\n" * 20 + b"four\n"


def finding_with_diff(*pairs: tuple[str, bytes, bytes]) -> Finding:
    edits = tuple(Edit(Source(file, 1), "Dense", "activation", "a", "b") for file, *_ in pairs)
    diff = b"".join(unified_diff(*pair) for pair in pairs).decode()
    return finding(edits=edits, diff=diff)


def replaced(text: bytes, change: dict) -> bytes:
    """What a reader of SARIF does: each region of whole lines is replaced, from the last on."""
    lines = text.decode().splitlines(keepends=True)
    for part in reversed(change["replacements"]):
        region = part["deletedRegion"]
        assert region["startColumn"] == region["endColumn"] == 1
        new = part["insertedContent"]["text"].splitlines(keepends=True)
        lines[region["startLine"] - 1 : region["endLine"] - 1] = new
    return "".join(lines).encode()


def test_sarif_replacements_make_the_new_text() -> None:
    found = finding_with_diff(("a b.py", BEFORE, AFTER), ("c.py", b"x\n", b"y\nz\n"))
    ((fix),) = fix_objects(found)
    first, second = fix["artifactChanges"]
    assert first["artifactLocation"] == {"uri": "a%20b.py", "uriBaseId": "%SRCROOT%"}
    assert replaced(BEFORE, first) == AFTER
    assert replaced(b"x\n", second) == b"y\nz\n"


def test_sarif_has_no_fix_without_a_diff() -> None:
    assert fix_objects(finding(diff="")) == []
    whole = json.loads(render_sarif([PrintedRun(runs.broken_run(), ())]))
    results = whole["runs"][0]["results"]
    assert ["fixes" in result for result in results] == [True, False, False, False, False]


def test_the_page_shows_added_and_removed_lines() -> None:
    page = render_html(runs.broken_run())
    assert page.count('<span class="removed">-') == page.count('<span class="added">+') == 2
    assert "No automatic fix" not in page
    first, *rest = runs.broken_run().diagnosis.findings
    told = replace(first, diff="", by_hand="line 5 makes <other> layers")
    data = replace(
        runs.broken_run(), diagnosis=replace(runs.broken_run().diagnosis, findings=(told, *rest))
    )
    assert "<dt>No automatic fix</dt><dd>line 5 makes &lt;other&gt; layers</dd>" in render_html(
        data
    )


@cache
def scripts_of_a_plain_page() -> int:
    return render_html(runs.broken_run()).count("<script")


@pytest.mark.slow
@pytest.mark.parametrize("text", NAMES)
def test_no_format_obeys_what_a_file_holds(text: str) -> None:
    pair = ("train.py", f"x = 1\n{text}\n".encode("utf-8", "replace"), b"x = 2\n")
    first, *rest = runs.broken_run().diagnosis.findings
    diff = unified_diff(*pair).decode()
    diagnosis = replace(runs.broken_run().diagnosis, findings=(replace(first, diff=diff), *rest))
    data = replace(runs.broken_run(), diagnosis=diagnosis)
    for shown in (render_text(data), finding_text(diagnosis.findings[0])):
        assert not {c for c in shown if not c.isprintable()} - {"\n", "\t", "\u200d"}
    page = render_html(data)
    assert page.count("<script") == scripts_of_a_plain_page()
    assert "\x1b" not in page
    assert json.loads(render_json(data))["findings"][0]["diff"] == diff
    assert "<img" not in render_snippet(data)


def test_each_line_of_a_diff_is_one_line() -> None:
    told = diff_lines(unified_diff("a.py", b"a\x0cb\r\n", "a\u2028b\r\n".encode()).decode())
    assert [side for side, _ in told] == ["head", "head", "head", "removed", "added"]
    assert [line for _, line in told[3:]] == ["-a\\x0cb", "+a\\u2028b"]


def test_the_way_to_the_repair_is_told_where_there_is_one(tmp_path) -> None:
    assert f"Repair: saldiag fix {tmp_path} " in " ".join(
        render_text(runs.broken_run(), path=tmp_path).split()
    )
    assert "saldiag fix" not in render_text(runs.learning_run(), path=tmp_path)
    assert html.escape("saldiag fix") not in render_text(runs.broken_run())
