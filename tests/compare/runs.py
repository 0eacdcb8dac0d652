"""Runs one program plainly and under saldiag, twice each, and compares what came out."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tests.compare.digest import END
from tests.compare.programs import HERE, Program

Outcome = Literal["identical", "expected", "differs", "nondeterministic", "failed"]

_REDRAWN = re.compile("[\r\x08]+")
_COLOUR = re.compile("\x1b\\[[0-9;]*m")
_DURATION = re.compile(r"\b\d+(h|m|s|ms|us)(/step|/epoch)?\b")

TIMEOUT = 300.0
"""Seconds for one run."""
ROOT = HERE.parents[1]
STATE_LINES = 3
"""Different lines that a comparison quotes."""


@dataclass(frozen=True)
class Run:
    """What one run of a program left behind."""

    output: tuple[str, ...]
    """The lines on stdout, up to the digests' last one if the program reached it."""
    exit_code: int
    """The exit code of the process."""
    files: tuple[tuple[str, str], ...]
    """Path and digest of each file in the working directory, sorted."""
    errors: str
    """The end of stderr."""
    seconds: float
    """Wall time."""

    @property
    def is_complete(self) -> bool:
        """Whether the program printed its digests."""
        return self.output[-1:] == (END,)


@dataclass(frozen=True)
class Comparison:
    """The runs of one program, compared."""

    name: str
    """The program's name."""
    group: str
    """The program's group."""
    outcome: Outcome
    """``identical``; ``expected``: differs for a stated reason; ``differs``; ``nondeterministic``:
    two plain runs differ, so nothing can be said; ``failed``: a plain run did not reach its end."""
    detail: str
    """The first differences, or the reason; empty if there is neither."""
    plain_seconds: float
    """Mean wall time of a plain run."""
    watched_seconds: float
    """Mean wall time of a run under saldiag."""


def compare(program: Program) -> Comparison:
    """Run a program four times, in processes of their own."""
    plain = [run_program(program, watched=False) for _ in range(2)]
    if not all(run.is_complete for run in plain):
        return _comparison(program, "failed", plain[0].errors[-300:], plain, plain)
    watched = [run_program(program, watched=True) for _ in range(2)]
    between = differences(*plain, same_command=True)
    found = [line for run in watched for line in differences(plain[0], run, same_command=False)]
    if between:
        return _comparison(program, "nondeterministic", between[0], plain, watched)
    if not found:
        return _comparison(program, "identical", "", plain, watched)
    outcome: Outcome = "expected" if program.expected else "differs"
    return _comparison(program, outcome, " | ".join(found[:STATE_LINES]), plain, watched)


def _comparison(
    program: Program, outcome: Outcome, detail: str, plain: list[Run], watched: list[Run]
) -> Comparison:
    seconds = [round(sum(run.seconds for run in runs) / len(runs), 2) for runs in (plain, watched)]
    return Comparison(program.name, program.group, outcome, detail, *seconds)


def differences(one: Run, other: Run, *, same_command: bool) -> list[str]:
    """What differs between two runs, each in one line.

    Args:
        one: a plain run.
        other: another plain run, or one under saldiag.
        same_command: whether both are plain. saldiag has exit codes of its own, which say no more
            than whether the program ended well.
    """
    found = [f"{a!r} → {b!r}" for a, b in zip(one.output, other.output, strict=False) if a != b]
    if len(one.output) != len(other.output):
        found.append(f"{len(one.output)} lines of output → {len(other.output)}")
    if one.files != other.files:
        found.append(f"files {_changed(one, other)}")
    if same_command and one.exit_code != other.exit_code:
        found.append(f"exit code {one.exit_code} → {other.exit_code}")
    if not same_command and one.exit_code and not other.exit_code:
        found.append(f"exit code {one.exit_code} → 0")
    if not other.is_complete:
        found.append(f"it did not reach its end: {other.errors[-200:]!r}")
    return found


def _changed(one: Run, other: Run) -> str:
    return ", ".join(sorted({name for name, _ in set(one.files) ^ set(other.files)}))


def run_program(program: Program, *, watched: bool) -> Run:
    """Run a program in a new folder and process; its files are removed afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="compare-"))
    work = folder / "work"
    work.mkdir()
    script = work / f"{program.name}.py"
    script.write_text(program.source, encoding="utf-8")
    shutil.copy(HERE / "digest.py", work / "compare_digest.py")
    command = ["-m", "saldiag", "run", "--out", str(folder / "run")] if watched else []
    started = time.monotonic()
    try:
        ended = subprocess.run(
            [sys.executable, *command, script.name, *program.arguments],
            cwd=work, env=_environment(), capture_output=True, text=True, timeout=TIMEOUT,
            check=False,
        )  # fmt: skip
        output, errors, code = ended.stdout, ended.stderr, ended.returncode
    except subprocess.TimeoutExpired:
        output, errors, code = "", f"no end after {TIMEOUT:g} s", -1
    seconds = time.monotonic() - started
    files = _files(work)
    shutil.rmtree(folder)
    lines = [without_times(line) for line in output.replace(str(folder), "FOLDER").split("\n")]
    if END in lines:
        lines = lines[: lines.index(END) + 1]
    # How often a progress bar is drawn again, an empty line each time, depends on the clock.
    lines = [line for line in lines if line]
    return Run(tuple(lines), code, files, errors, seconds)


def without_times(line: str) -> str:
    """A line without durations and colours; of a progress bar only its last state."""
    return _DURATION.sub("TIME", _COLOUR.sub("", _REDRAWN.split(line)[-1]))


def _environment() -> dict[str, str]:
    own = {
        "PYTHONPATH": os.pathsep.join(str(ROOT / part) for part in ("", "probes", "reports")),
        "PYTHONHASHSEED": "0",
        "PYTHONDONTWRITEBYTECODE": "1",
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "CUDA_VISIBLE_DEVICES": "",
        "COLUMNS": "100",
    }
    return {**os.environ, **own}


def _files(folder: Path) -> tuple[tuple[str, str], ...]:
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return tuple(
        (path.relative_to(folder).as_posix(), hashlib.sha256(path.read_bytes()).hexdigest()[:16])
        for path in paths
    )
