"""Running a notebook's code cells in order, as a script without IPython's magics.

Each cell is compiled under its own file name, such as ``train.ipynb[3]`` for the third code cell.
Line numbers count within the cell.
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
"""Cell magics that run the rest of the cell as Python code."""

# ``%matplotlib inline``, ``!pip install keras``, ``files = !ls``
_MAGIC = re.compile(r"^(?P<indent>\s*)(?P<target>[\w\s,.\[\]'\"]+=\s*)?(?P<what>[%!])(?P<rest>.*)$")
# ``?model``, ``model.fit??``
_HELP = re.compile(r"^\s*\??\??[\w.]+\?\??\s*$")
_RAISES_TAG = "raises-exception"


@dataclass(frozen=True)
class Cell:
    """A code cell, converted to plain Python."""

    name: str
    """File name of its code in tracebacks, such as ``train.ipynb[3]``."""
    code: str
    """Python source."""
    may_raise: bool = False
    """Whether the cell has the tag ``raises-exception``: an error in it does not end the run."""


def read_notebook(path: Path) -> tuple[list[Cell], list[str]]:
    """The code cells of a notebook, and one note for each line that was left out.

    Raises:
        SaldiagError: the file does not exist or is not a notebook, or nbformat is not installed.
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
    except Exception as error:  # nbformat and json raise many types for an invalid file
        raise SaldiagError(
            f"{path}: not a notebook ({' '.join(str(error).split())[:200]})"
        ) from error
    code_cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    cells: list[Cell] = []
    notes: list[str] = []
    for number, cell in enumerate(code_cells, 1):
        name = f"{path}[{number}]"
        code, left_out = plain_python(str(cell.source))
        notes += [f"{name}: left out: {line}" for line in left_out]
        may_raise = _RAISES_TAG in cell.get("metadata", {}).get("tags", ())
        cells.append(Cell(name, code, may_raise))
    return cells, notes


def plain_python(source: str) -> tuple[str, list[str]]:
    """A cell's code without magics, shell commands and help requests, and the lines left out.

    Line numbers stay the same. ``x = !ls`` becomes ``x = None``.
    """
    first, _, rest = source.lstrip().partition("\n")
    if first.startswith("%%"):
        name = first[2:].split()[:1]
        if name and name[0] in PYTHON_CELL_MAGICS:
            code, left_out = plain_python(rest)
            return "\n" + code, [first, *left_out]
        return "", [first]
    if _is_python(source):  # in valid Python, % at the start of a line continues a formula
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
    magic = _MAGIC.match(line)
    if magic is None:
        return line, []
    if magic["target"]:
        return f"{magic['indent']}{magic['target']}None", [line.strip()]
    return f"{magic['indent']}pass", [line.strip()]


def run_notebook(path: Path, arguments: Sequence[str], note: Callable[[str], None]) -> ProgramEnd:
    """Run the cells as ``__main__`` up to the first that raises without the tag for it.

    Args:
        path: the notebook.
        arguments: ``sys.argv`` after the notebook's path.
        note: called with one line for each line that is left out.

    Raises:
        SaldiagError: see ``read_notebook``.
    """
    cells, notes = read_notebook(path)
    for line in notes:
        note(line)
    os.environ.setdefault("MPLBACKEND", "agg")  # plt.show() must not wait for a window to be closed

    def run_cells(module: types.ModuleType) -> None:
        del module.__dict__["__file__"]  # as in Jupyter
        module.__dict__.update(display=print, get_ipython=lambda: _IPythonStub(note))
        for cell in cells:
            _run_cell(cell, module.__dict__)

    return run_as_main(str(path), arguments, run_cells)


def _run_cell(cell: Cell, namespace: dict[str, Any]) -> None:
    # Tracebacks, AutoGraph and ``Source.text`` read source lines through linecache; a cell has no
    # file, and an entry without a modification time (None) is never discarded as outdated.
    lines = [f"{line}\n" for line in cell.code.split("\n")]
    linecache.cache[cell.name] = (len(cell.code), None, lines, cell.name)
    try:
        exec(compile(cell.code, cell.name, "exec", dont_inherit=True), namespace)  # noqa: S102
    except Exception:
        if not cell.may_raise:
            raise


class _IPythonStub:
    """Result of ``get_ipython()``: accepts any method call, and notes that it has no effect."""

    def __init__(self, note: Callable[[str], None]) -> None:
        self._note = note

    def __getattr__(self, name: str) -> Callable[..., None]:
        def note_call(*args: Any, **_: Any) -> None:
            self._note(f"left out: get_ipython().{name}{args!r}"[:200])

        return note_call


def is_notebook(path: Path) -> bool:
    """Whether a path has the suffix of a notebook."""
    return path.suffix.lower() == SUFFIX
