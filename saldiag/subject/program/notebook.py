"""Run a notebook's cells in order, as a script: what only IPython understands is left out.

Every cell is compiled under a name of its own, ``train.ipynb[3]``: the third code cell. Lines count
within the cell.
"""

from __future__ import annotations

import ast
import linecache
import os
import re
import types
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from saldiag.core.errors import SaldiagError
from saldiag.subject.program.script import ProgramEnd, run_as_main

SUFFIX = ".ipynb"
PYTHON_CELL_MAGICS = frozenset({"time", "timeit", "capture", "prun"})
"""Cell magics that run the cell's own Python code."""

_MAGIC = re.compile(r"^(?P<indent>\s*)(?P<target>[\w\s,.\[\]'\"]+=\s*)?(?P<what>[%!])(?P<rest>.*)$")
_HELP = re.compile(r"^\s*\??\??[\w.]+\?\??\s*$")
_RAISES_TAG = "raises-exception"


@dataclass(frozen=True)
class Cell:
    """A code cell: ``name`` is the file that its code is said to be in."""

    name: str
    code: str
    may_raise: bool = False


def read_notebook(path: Path) -> tuple[list[Cell], list[str]]:
    """The code cells of a notebook, and a note for everything that is left out of them.

    Raises:
        SaldiagError: it is not there, no notebook, or nbformat is not installed.
    """
    try:
        import nbformat
    except ImportError as error:
        raise SaldiagError(
            f"{path}: reading notebooks needs nbformat: pip install 'saldiag[notebook]'"
        ) from error
    read: Any = nbformat.read
    try:
        notebook = read(path, as_version=4)
    except OSError as error:
        raise SaldiagError(f"{path}: {error.strerror or error}") from error
    except Exception as error:  # whatever nbformat and json find wrong with it
        raise SaldiagError(
            f"{path}: not a notebook ({' '.join(str(error).split())[:200]})"
        ) from error
    found = [cell for cell in notebook.cells if cell.cell_type == "code"]
    cells: list[Cell] = []
    notes: list[str] = []
    for number, cell in enumerate(found, 1):
        name = f"{path}[{number}]"
        code, left_out = plain_python(str(cell.source))
        notes += [f"{name}: left out: {line}" for line in left_out]
        may_raise = _RAISES_TAG in cell.get("metadata", {}).get("tags", ())
        cells.append(Cell(name, code, may_raise))
    return cells, notes


def plain_python(source: str) -> tuple[str, list[str]]:
    """A cell's code without magics, shell lines and questions, line by line, and what was left out.

    The lines keep their numbers. ``x = !ls`` becomes ``x = None``.
    """
    first, _, rest = source.lstrip().partition("\n")
    if first.startswith("%%"):
        name = first[2:].split()[:1]
        if name and name[0] in PYTHON_CELL_MAGICS:
            code, left_out = plain_python(rest)
            return "\n" + code, [first, *left_out]
        return "", [first]
    if _is_python(source):  # a line that begins with % may go on a formula
        return source, []
    lines, left_out = [], []
    for line in source.split("\n"):
        kept, dropped = _plain_python_line(line)
        lines.append(kept)
        left_out += dropped
    return "\n".join(lines), left_out


def _is_python(source: str) -> bool:
    try:
        compile(source, "<cell>", "exec", ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    except (SyntaxError, ValueError):
        return False
    return True


def _plain_python_line(line: str) -> tuple[str, list[str]]:
    if _HELP.match(line) and "?" in line:
        return "", [line.strip()]
    found = _MAGIC.match(line)
    if found is None:
        return line, []
    if found["target"]:
        return f"{found['indent']}{found['target']}None", [line.strip()]
    return f"{found['indent']}pass", [line.strip()]


def run_notebook(path: Path, arguments: Sequence[str], note: Callable[[str], None]) -> ProgramEnd:
    """Run the cells as ``__main__``, up to the first that raises without being marked to.

    Args:
        path: the notebook.
        arguments: ``sys.argv`` behind it.
        note: told what is left out.

    Raises:
        SaldiagError: see ``read_notebook``.
    """
    cells, notes = read_notebook(path)
    for line in notes:
        note(line)
    os.environ.setdefault("MPLBACKEND", "agg")  # a window would wait for somebody to close it

    def execute(module: types.ModuleType) -> None:
        del module.__dict__["__file__"]  # as in Jupyter
        module.__dict__.update(display=print, get_ipython=lambda: _IPythonStub(note))
        for cell in cells:
            _run_cell(cell, module.__dict__)

    return run_as_main(path, arguments, execute)


def _run_cell(cell: Cell, namespace: dict[str, Any]) -> None:
    # Tracebacks, AutoGraph and the quoted line read the code from here.
    lines = [f"{line}\n" for line in cell.code.split("\n")]
    linecache.cache[cell.name] = (len(cell.code), None, lines, cell.name)
    try:
        exec(compile(cell.code, cell.name, "exec", dont_inherit=True), namespace)  # noqa: S102
    except Exception:
        if not cell.may_raise:
            raise


class _IPythonStub:
    """Stands in for IPython's shell: takes every call, and says so."""

    def __init__(self, note: Callable[[str], None]) -> None:
        self._note = note

    def __getattr__(self, name: str) -> Callable[..., None]:
        def call(*args: Any, **_: Any) -> None:
            self._note(f"left out: get_ipython().{name}{args!r}"[:200])

        return call


def is_notebook(path: Path) -> bool:
    """Whether a path is that of a notebook."""
    return path.suffix.lower() == SUFFIX
