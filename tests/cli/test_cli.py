"""The command line without TensorFlow: help, usage, exit codes, one line for each error."""

from __future__ import annotations

import errno
import os
import subprocess
from pathlib import Path

import click
import pytest

from saldiag.cli import main
from saldiag.core.errors import SaldiagError
from tests.support.command_line import run_python, run_saldiag_process

COMMANDS = (
    "overfit", "gradients", "dtypes", "trainable", "train", "data", "report", "compare", "explain",
    "predict",
)  # fmt: skip


@pytest.mark.parametrize("arguments", [(), *((name,) for name in COMMANDS)])
def test_help_of_every_command_fits_80_columns(arguments: tuple[str, ...]) -> None:
    result = run_saldiag_process(*arguments, "--help")
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith("Usage: saldiag")
    assert max(len(line) for line in result.stdout.splitlines()) <= 80


def test_help_imports_no_tensorflow() -> None:
    code = (
        "import sys\nfrom saldiag.cli.main import main\n"
        "main(['--help'])\nmain(['overfit', '--help'])\n"
        "heavy = {'tensorflow', 'keras', 'pandas', 'matplotlib', 'scipy'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    result = run_python(code)
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nonsense"], "No such command 'nonsense'"),
        (["overfit", "--modle", "x"], "--modle"),
        (["overfit", "--subset", "0"], "0"),
        (["overfit", "--subset", "1.5"], "1.5"),
        (["overfit", "--learning-rate", "nan"], "nan"),
        (["overfit", "--budget", "inf"], "inf"),
        (["overfit", "--precision", "float8"], "float8"),
        (["overfit", "--format", "xml"], "xml"),
        (["overfit", "--image-size", "0"], "0"),
        (["report"], "Missing argument 'RUN'"),
        (["report", "no/such/run"], "no/such/run: no such run directory"),
        (["compare"], "Missing argument 'RUN RUN...'"),
        (["compare", "one"], "compare needs at least two runs"),
        (["compare", "no/such/run", "x"], "no/such/run: no such run directory"),
        (["explain", "SD999"], "SD999"),
        (["overfit", "--seed", "-5"], "-5"),
        (["data", "check", "--seed", "4294967296"], "4294967296"),
        (["overfit", "--data", "no/such/data"], "no/such/data: no such file or folder"),
        (["train", "--model", "quicksall"], "did you mean quicksal?"),
        (["train", "--resume", "--out", "no/such/run"], "no/such/run: no such run directory"),
    ],
)
def test_bad_usage_is_one_line_and_exit_2(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("saldiag: ")
    assert said in captured.err
    assert captured.err.count("\n") == 1


@pytest.mark.parametrize("arguments", [[], ["data"]])
def test_without_a_command_the_help_is_shown_as_it_is(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.main(arguments) == 2
    said = capsys.readouterr().err
    assert said.startswith("Usage: saldiag")
    assert said.count("\n") > 5


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (SaldiagError("data/x.jpg: truncated\nat byte 7"), "data/x.jpg: truncated at byte 7"),
        (OSError(errno.ENOSPC, "No space left on device", "out/a"), "out/a: the disk is full"),
        (PermissionError(errno.EACCES, "Permission denied", "out/a"), "out/a: Permission denied"),
        (KeyboardInterrupt(), "interrupted"),
        (click.Abort(), "interrupted"),
        (ZeroDivisionError("by zero"), "this is a fault in saldiag: ZeroDivisionError: by zero"),
        (SaldiagError("a\x1b[31mred\u202ename"), "a?[31mred?name"),
    ],
)
def test_every_error_is_one_line_and_exit_2(
    error: BaseException,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def explain_rule(*_: object) -> int:
        raise error

    monkeypatch.setattr("saldiag.app.commands.report.explain_rule", explain_rule)
    assert main.main(["explain", "SD101"]) == 2
    captured = capsys.readouterr().err
    assert said in captured
    assert captured.strip().count("\n") == 0


def test_debug_shows_the_traceback(tmp_path: Path) -> None:
    with pytest.raises(SaldiagError, match="no such run directory"):
        main.main(["report", str(tmp_path / "none"), "--debug"])


def test_a_closed_pipe_shows_no_traceback() -> None:
    read, write = os.pipe()
    os.close(read)
    result = run_saldiag_process("explain", "SD101", stdout=write, stderr=subprocess.PIPE)
    os.close(write)
    assert "Traceback" not in result.stderr
    assert "fault in saldiag" not in result.stderr
