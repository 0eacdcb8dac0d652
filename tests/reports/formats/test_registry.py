"""The table of printed formats: a new file or an entry point is all that a format needs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from saldiag.app.session.options import CHECK_FORMATS
from saldiag.core.errors import SaldiagError
from saldiag_reports.formats.printed_run import PrintedFormat, PrintedRun
from saldiag_reports.formats.registry import format_names, load_format
from saldiag_reports.gallery import runs
from tests.support import hostile_report
from tests.support.runs import written

FORMAT_FILE = """
from saldiag_reports.formats.printed_run import PrintedFormat


def render_counts(runs, fail_on):
    rules = sum(bool(run.rules) for run in runs)
    findings = [len(run.data.diagnosis.findings) for run in runs]
    return f"{findings} findings, {rules} with rules, fail on {fail_on}\\n"


FORMAT = PrintedFormat("The number of findings.", render_counts, needs_rules=True)
"""

PRINT = """
import sys
from saldiag.cli.main import main

try:
    main(["report", "--help"])
except SystemExit:
    pass
sys.exit(main(["report", sys.argv[1], "--format", "counts", "--fail-on", "warning"]))
"""


@pytest.fixture
def broken(tmp_path: Path) -> Path:
    return written(runs.broken_run(), tmp_path / "run")


def printed(code: str, run: Path, folder: Path) -> str:
    path = os.pathsep.join([str(folder), *filter(None, sys.path)])
    result = subprocess.run(
        [sys.executable, "-c", code, str(run)],
        env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert result.returncode == 1, result.stderr
    return result.stdout


def test_a_file_in_the_folder_is_a_format(broken, tmp_path):
    folder = tmp_path / "formats"
    folder.mkdir()
    (folder / "counts.py").write_text(FORMAT_FILE, encoding="utf-8")
    add = f"from saldiag_reports.formats import printed\nprinted.__path__.append({str(folder)!r})\n"
    shown = printed(add + PRINT, broken, tmp_path)
    assert "counts" in shown[: shown.index("findings, ")]
    assert shown.endswith("[5] findings, 1 with rules, fail on warning\n")


def test_an_entry_point_is_a_format(broken, tmp_path):
    folder = tmp_path / "site"
    metadata = folder / "their_package-1.0.dist-info"
    metadata.mkdir(parents=True)
    (folder / "their_package.py").write_text(FORMAT_FILE, encoding="utf-8")
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: their-package\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text("[saldiag.formats]\ncounts = their_package:FORMAT\n")
    shown = printed(PRINT, broken, folder)
    assert shown.endswith("[5] findings, 1 with rules, fail on warning\n")


@pytest.mark.parametrize("name", format_names())
def test_every_format_describes_itself_and_renders(name):
    declared = load_format(name)
    assert isinstance(declared, PrintedFormat)
    assert declared.help.endswith(".")
    assert "\n" not in declared.help
    run = PrintedRun(runs.broken_run())
    assert declared.render([run], "error") == declared.render([run], "error") != ""


def test_the_command_line_offers_all_formats_text_first():
    assert CHECK_FORMATS[:2] == ("text", "json")
    assert set(CHECK_FORMATS) == set(format_names())
    assert {"text", "json", "junit", "sarif", "github"} <= set(format_names())


def test_help_lists_the_formats_without_importing_them():
    code = (
        "import sys\nfrom saldiag.cli.main import main\nmain(['report', '--help'])\n"
        "sys.exit(any('formats.printed.' in name for name in sys.modules))"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert all(name in shown.stdout for name in format_names())


def test_an_unknown_format_names_the_known_ones():
    with pytest.raises(SaldiagError, match=r"unknown format 'xml': choose one of github, json"):
        load_format("xml")


def test_a_format_that_cannot_be_imported_names_its_package(monkeypatch):
    from importlib.metadata import EntryPoint

    from saldiag_reports.formats import registry

    missing = EntryPoint("theirs", "no_such_package:FORMAT", registry.GROUP)
    monkeypatch.setattr(registry, "entry_points", lambda **_: (missing,))
    with pytest.raises(SaldiagError, match=r"--format theirs: no_such_package:FORMAT cannot be"):
        load_format("theirs")


SAMPLES = {**runs.SAMPLES, "hostile": hostile_report.hostile}


@pytest.mark.parametrize("name", format_names())
@pytest.mark.parametrize("sample", sorted(SAMPLES))
def test_every_format_renders_every_sample_the_same_way_twice(name: str, sample: str) -> None:
    shown = load_format(name)
    data = SAMPLES[sample]()
    run = [PrintedRun(data, (), Path("run"))]
    text = shown.render(run, "error")
    assert text == shown.render(run, "error")
    assert text.strip() or not data.diagnosis.findings
    if name not in ("json", "sarif"):  # for programs; they hold texts as they are
        assert not set(text) & set("\x00\x07\x1b\x9b\u202e\u2066"), "a terminal obeys these"
