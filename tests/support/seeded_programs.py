"""Programs with one seeded fault: where it stands, and what the program is with it.

A comment ``# fault SD101: CODE`` stands above the line that CODE takes the place of; without code,
nothing does. saldiag must point at that line, or at the one that ends in ``# named`` where the
fault lies in data, which have no line of their own. ``# arguments: …`` are the command line's.
"""

from __future__ import annotations

import io
import json
import re
import warnings
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(__file__).parents[1] / "programs"
FAULT = re.compile(r"^(?P<indent>\s*)# fault (?P<rule>SD\d{3}):(?P<code>.*)$")
NAMED = re.compile(r"\s*# named$")
ARGUMENTS = re.compile(r"^# arguments: (?P<words>.*)$", re.MULTILINE)


@dataclass(frozen=True)
class Seeded:
    """A program with its fault: the whole text, and what saldiag has to say of it.

    ``cell`` is the number of the notebook's code cell that holds ``line``; both count from 1.
    """

    text: str
    rule: str
    line: int
    cell: int | None = None


def programs() -> list[Path]:
    return sorted([*FOLDER.glob("*.py"), *FOLDER.glob("*.ipynb")])


def arguments_of(path: Path) -> tuple[str, ...]:
    found = ARGUMENTS.search(path.read_text(encoding="utf-8"))
    return tuple(found["words"].split()) if found else ()


def with_fault(path: Path) -> Seeded:
    """The program at ``path`` with its one fault."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".py":
        (part,), rule, _, line = _seeded([text])
        return Seeded(part, rule, line)
    notebook = json.loads(text)
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    parts, rule, number, line = _seeded(["".join(cell["source"]) for cell in cells])
    for cell, part in zip(cells, parts, strict=True):
        cell["source"] = part
    return Seeded(json.dumps(notebook), rule, line, number)


def _seeded(parts: list[str]) -> tuple[list[str], str, int, int]:
    """The parts with the fault, its rule, and the place to point at: part and line, from 1."""
    lines = [part.split("\n") for part in parts]
    ((part, line),) = _places(lines, lambda text: FAULT.match(text) is not None)
    fault = FAULT.match(lines[part][line])
    assert fault is not None
    lines[part][line + 1] = fault["indent"] + fault["code"].strip()
    named = _places(lines, lambda text: NAMED.search(text) is not None) or [(part, line + 1)]
    ((named_part, named_line),) = named
    return ["\n".join(each) for each in lines], fault["rule"], named_part + 1, named_line + 1


def _places(lines: list[list[str]], wanted: Callable[[str], bool]) -> list[tuple[int, int]]:
    return [(i, j) for i, part in enumerate(lines) for j, text in enumerate(part) if wanted(text)]


def run(path: Path, text: str, folder: Path) -> tuple[int, list[dict[str, Any]], str]:
    """Run ``text`` as the program of ``path`` in ``folder``, in this process.

    Returns the exit code, the diagnosis of every model in the order of training, and stderr. No
    reports are drawn, and Keras is left as it was.
    """
    import keras

    import saldiag_reports.writer
    from saldiag.app.program.options import ProgramOptions
    from saldiag.app.program.run import run_program

    program = folder / path.name
    program.write_text(text, encoding="utf-8")
    shown = io.StringIO()
    options = ProgramOptions(Path(path.name), arguments_of(path), out=folder / "run")
    with (
        pytest.MonkeyPatch.context() as patched,
        warnings.catch_warnings(),
        redirect_stdout(io.StringIO()),
        redirect_stderr(shown),
    ):
        patched.chdir(folder)
        patched.setattr(saldiag_reports.writer, "write_reports", lambda *_: None)
        warnings.simplefilter("default")  # the program's warnings are its own
        try:
            code = run_program(options)
        finally:
            keras.mixed_precision.set_global_policy("float32")
            keras.backend.clear_session()
    return code, _diagnoses(folder / "run"), shown.getvalue()


def _diagnoses(run: Path) -> list[dict[str, Any]]:
    others = sorted(run.glob("model-*"), key=lambda path: int(path.name.split("-")[1]))
    written = [part / "diagnosis.json" for part in (run, *others)]
    return [json.loads(path.read_text(encoding="utf-8")) for path in written if path.exists()]
