"""Files of a report: whole, or as they were before."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from saldiag.core.errors import RunError
from saldiag_reports.content.data import ReportData
from saldiag_reports.formats.html import render_html
from saldiag_reports.gallery import runs
from saldiag_reports.writer import RunFile, write_reports


def files(directory):
    return sorted(str(p.relative_to(directory)) for p in directory.rglob("*") if p.is_file())


WHOLE = ["report.html", "tensorboard/events.out.tfevents.0.saldiag"]


def test_a_run_gets_every_report(tmp_path):
    data = runs.bare_run()
    write_reports(data, tmp_path / "run")
    assert files(tmp_path / "run") == WHOLE
    assert (tmp_path / "run/report.html").read_text(encoding="utf-8") == render_html(data)


def test_drawing_again_changes_nothing(tmp_path):
    write_reports(runs.broken_run(), tmp_path)
    before = {name: (tmp_path / name).read_bytes() for name in files(tmp_path)}
    write_reports(runs.broken_run(), tmp_path)
    assert {name: (tmp_path / name).read_bytes() for name in files(tmp_path)} == before


def fail(data: ReportData) -> bytes:
    raise RuntimeError("a bug in a renderer")


def test_a_renderer_that_fails_leaves_the_last_good_report(tmp_path):
    write_reports(runs.bare_run(), tmp_path)
    before = (tmp_path / "report.html").read_bytes()
    with pytest.raises(RuntimeError, match="a bug"):
        write_reports(runs.broken_run(), tmp_path, (RunFile("report.html", fail),))
    assert (tmp_path / "report.html").read_bytes() == before
    assert files(tmp_path) == WHOLE


def test_a_full_disk_leaves_the_last_good_report_and_no_rest(tmp_path, monkeypatch):
    write_reports(runs.bare_run(), tmp_path)
    before = (tmp_path / "report.html").read_bytes()

    def full(_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(RunError, match=r"cannot be written \(No space left on device\)") as raised:
        write_reports(runs.broken_run(), tmp_path)
    assert "\n" not in str(raised.value)
    assert (tmp_path / "report.html").read_bytes() == before
    assert files(tmp_path) == WHOLE


def test_a_file_in_the_way_is_told(tmp_path):
    blocked = tmp_path / "run"
    blocked.write_text("not a directory", encoding="utf-8")
    with pytest.raises(RunError, match=r"run/report\.html: cannot be written"):
        write_reports(runs.bare_run(), blocked)
    assert blocked.read_text(encoding="utf-8") == "not a directory"


def test_the_gallery_is_written_whole(tmp_path):
    written = runs.write_gallery(tmp_path)
    committed = {path.name for path in runs.DIRECTORY.iterdir() if path.suffix != ".png"}
    assert {path.name for path in written} == committed
    assert all(isinstance(path, Path) and path.stat().st_size for path in written)


def test_a_missing_browser_is_told(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(FileNotFoundError, match="no chromium"):
        runs.take_screenshot(tmp_path / "a.html", tmp_path / "a.png")
