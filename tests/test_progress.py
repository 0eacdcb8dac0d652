"""Progress on stderr, with a terminal and without one."""

from __future__ import annotations

import io
import os
import sys
import threading

import pytest
from rich.console import Console

from saldiag import progress
from tests.support.command_line import run_python


def plain_console() -> Console:
    return Console(file=io.StringIO(), width=30)


def shown(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


class TestStage:
    def test_a_short_one_is_not_shown_without_a_terminal(self):
        console = plain_console()
        with progress.stage(console, "reading data"):
            pass
        assert shown(console) == ""

    def test_a_long_one_is_shown_and_again(self, monkeypatch):
        monkeypatch.setattr(progress, "SILENT_SECONDS", 0.0)
        monkeypatch.setattr(progress, "REPEATED_SECONDS", 0.01)
        console = plain_console()
        written = threading.Event()
        write = console.file.write

        def note(text: str) -> int:
            count = write(text)
            if "so far" in text:
                written.set()
            return count

        monkeypatch.setattr(console.file, "write", note)
        with progress.stage(console, "reading data that is far away"):
            assert written.wait(30)
        lines = shown(console).splitlines()
        assert lines[0] == "saldiag: reading data that is far away …"
        assert lines[1] == "saldiag: reading data that is far away … (0:00 so far)"

    def test_an_error_ends_it(self):
        before = threading.active_count()
        with pytest.raises(ZeroDivisionError), progress.stage(plain_console(), "dividing"):
            _ = 1 / 0
        for thread in threading.enumerate()[before:]:
            thread.join(30)
        assert threading.active_count() == before

    @pytest.mark.parametrize("own_display", [False, True])
    def test_a_terminal_shows_a_spinner_unless_the_stage_shows_itself(self, own_display):
        console = Console(file=io.StringIO(), force_terminal=True)
        with progress.stage(console, "reading data", own_display=own_display):
            pass
        assert ("reading data …" in shown(console)) is not own_display


class TestStartup:
    def test_is_shown_at_once(self, capsys):
        with progress.startup("starting TensorFlow"):
            assert capsys.readouterr().err == "saldiag: starting TensorFlow …\n"

    @pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
    def test_is_shown_on_a_terminal_whose_descriptor_is_redirected(self):
        import pty

        reader, terminal = pty.openpty()
        done = run_python(
            "import os, time\nfrom saldiag.progress import startup\n"
            "with startup('starting'):\n"
            "    hidden = os.open(os.devnull, os.O_WRONLY)\n"
            "    kept = os.dup(2)\n    os.dup2(hidden, 2)\n    time.sleep(0.3)\n"
            "    os.dup2(kept, 2)\n",
            stdout=-1,
            stderr=terminal,
            env={**os.environ, "TERM": "xterm"},
        )
        assert done.returncode == 0
        text = os.read(reader, 100_000).decode()
        os.close(reader)
        os.close(terminal)
        assert text.count("starting …") > 2, "it turns"


def test_the_bar_of_the_overfit_test_shows_its_nearest_limit():
    console = Console(file=io.StringIO(), force_terminal=True, width=100)
    with progress.overfit_progress(console, 60.0, 200) as update:
        update(150, 0.5, 59.0)
    assert "step 150 of 200  loss 0.5  0:59 left" in shown(console)


SLOW = (
    "numpy.testing", "matplotlib", "pandas", "seaborn", "scipy", "tensorflow", "keras", "h5py",
    "requests", "jinja2", "PIL", "saldiag_reports.sections", "saldiag.rules.engine",
)  # fmt: skip


def test_the_command_line_imports_nothing_slow_before_its_first_line():
    code = f"import sys, saldiag.cli.main\nprint([m for m in {SLOW} if m in sys.modules])"
    assert run_python(code).stdout == "[]\n"
