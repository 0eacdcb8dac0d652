"""saldiag's command line in tests: in this process, or in a process of its own.

Processes find this checkout through ``PYTHONPATH``, which ``conftest.py`` sets.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any


def run_saldiag(*arguments: str | Path) -> int:
    """The exit code of ``saldiag ARGUMENTS``, run in this process."""
    from saldiag.cli.main import main

    return main([str(argument) for argument in arguments])


def saldiag_command(*arguments: str | Path) -> list[str]:
    """The words that start ``saldiag ARGUMENTS`` as a process."""
    return [sys.executable, "-m", "saldiag", *map(str, arguments)]


def run_saldiag_process(*arguments: str | Path, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run ``saldiag ARGUMENTS`` as a process to its end; ``options`` are ``subprocess.run``'s."""
    return _run_to_end(saldiag_command(*arguments), options)


def start_saldiag_process(*arguments: str | Path, **options: Any) -> subprocess.Popen[str]:
    """Start ``saldiag ARGUMENTS`` as a process; both outputs are pipes unless in ``options``."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(saldiag_command(*arguments), **(pipes | options))


def run_python(code: str, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run ``python -c CODE`` as a process to its end; ``options`` are ``subprocess.run``'s."""
    return _run_to_end([sys.executable, "-c", code], options)


def read_diagnosis(run: str | Path) -> dict[str, Any]:
    """``diagnosis.json`` of a run directory."""
    found: dict[str, Any] = json.loads(Path(run, "diagnosis.json").read_text(encoding="utf-8"))
    return found


def _run_to_end(command: list[str], options: Any) -> subprocess.CompletedProcess[str]:
    pipes = {} if {"stdout", "stderr"} & options.keys() else {"capture_output": True}
    return subprocess.run(command, check=False, **({"text": True} | pipes | options))
