"""What a program's source says about backends: the frameworks it imports, the backend it sets.

Nothing is imported: the syntax of the program is read, and of the local modules that it imports.
"""

from __future__ import annotations

import ast
import importlib.util
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from saldiag.core.errors import SaldiagError
from saldiag.subject.program.notebook import is_notebook, read_notebook
from saldiag.subject.source.stack_frames import display_path

BACKEND_VARIABLE = "KERAS_BACKEND"
BACKENDS = frozenset({"tensorflow", "jax", "torch", "openvino", "numpy"})
OTHER_FRAMEWORKS = frozenset(
    {
        "jax",
        "jaxlib",
        "flax",
        "optax",
        "torch",
        "torchvision",
        "torchaudio",
        "lightning",
        "pytorch_lightning",
    }
)
"""Packages whose code cannot run on TensorFlow."""
MAX_MODULES = 300
"""How many local modules are read at most."""


@dataclass(frozen=True)
class BackendSetting:
    """A backend, and what sets it."""

    name: str
    """Such as ``jax``."""
    where: str
    """What sets it, as the subject of a sentence: ``KERAS_BACKEND``, a file, or a line."""


@dataclass
class ProgramBackends:
    """What a program's source says about backends."""

    assigned: BackendSetting | None = None
    """The first backend that it assigns to the variable."""
    default: BackendSetting | None = None
    """The first that it sets if the variable is not set."""
    foreign: str | None = None
    """The first use of JAX, PyTorch or what builds on them: ``train.py:3 imports jax``."""
    modules: list[Path] = field(default_factory=list, repr=False)
    """Local modules that are still to be read."""

    def effective(self, configured: BackendSetting) -> BackendSetting:
        """The backend that the program would run on, if the process has ``configured``."""
        if self.assigned is not None:
            return self.assigned
        if self.default is not None and configured.where != BACKEND_VARIABLE:
            return self.default
        return configured


def read_backends(sources: Iterable[Path], folders: Sequence[str] = ()) -> ProgramBackends:
    """Read a program's source.

    Args:
        sources: scripts, modules and notebooks.
        folders: where local modules are searched, after the folder of the source.
    """
    found = ProgramBackends()
    for source in sources:
        local = [str(source.resolve().parent), *folders]
        found.modules.append(source)
        seen: set[Path] = set()
        while found.modules and len(seen) < MAX_MODULES:
            path = found.modules.pop(0)
            resolved = path.resolve()
            if resolved not in seen:
                seen.add(resolved)
                for name, tree in _parsed(path):
                    _Reader(found, path, name, local).visit(tree)
    return found


def _parsed(path: Path) -> Iterator[tuple[str, ast.Module]]:
    """The syntax trees of a file, with the name to show; none of what cannot be read."""
    try:
        if is_notebook(path):
            texts: list[tuple[str, str | bytes]] = [
                (cell.name, cell.code) for cell in read_notebook(path)[0]
            ]
        else:
            texts = [(display_path(str(path)), path.read_bytes())]
        for name, text in texts:
            yield name, ast.parse(text)
    except (OSError, ValueError, SyntaxError, RecursionError, SaldiagError):
        return


class _Reader(ast.NodeVisitor):
    """Notes imports and settings of the backend, except where they do not run on TensorFlow."""

    def __init__(
        self, found: ProgramBackends, path: Path, name: str, folders: Sequence[str]
    ) -> None:
        self._found = found
        self._path = path
        self._name = name
        self._folders = folders
        self._optional = False

    def visit_Import(self, node: ast.Import) -> None:
        """``import jax.numpy as jnp``."""
        for alias in node.names:
            self._note_import(alias.name, node.lineno)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        """``from jax import numpy``, ``from . import layers``."""
        names = [alias.name for alias in node.names]
        if node.level:
            folder = self._path.resolve().parents[node.level - 1]
            module = f"{node.module}." if node.module else ""
            self._follow([str(folder)], [f"{module}{name}" for name in names])
        else:
            module = node.module or ""
            self._note_import(module, node.lineno, [f"{module}.{name}" for name in names])

    def visit_If(self, node: ast.If) -> None:
        """``if TYPE_CHECKING:`` and ``if backend() == "jax":`` are left out, not their ``else``."""
        if not _is_for_other_backend(node.test):
            self.generic_visit(node)
            return
        for statement in node.orelse:
            self.visit(statement)

    def visit_Try(self, node: ast.Try) -> None:
        """An import may fail where ``except ImportError`` follows."""
        before = self._optional
        self._optional = before or any(map(_catches_import_errors, node.handlers))
        for statement in node.body:
            self.visit(statement)
        self._optional = before
        for following in (*node.handlers, *node.orelse, *node.finalbody):
            self.visit(following)

    def visit_Assign(self, node: ast.Assign) -> None:
        """``os.environ["KERAS_BACKEND"] = "jax"``."""
        for target in node.targets:
            if isinstance(target, ast.Subscript) and _text(target.slice) == BACKEND_VARIABLE:
                self._note_backend("assigned", node.value, node.lineno)
        self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        """``os.environ.setdefault``, ``os.putenv``, ``set_backend``, ``import_module``."""
        name = node.func.attr if isinstance(node.func, ast.Attribute) else _name(node.func)
        first = _text(node.args[0]) if node.args else None
        if name == "setdefault" and first == BACKEND_VARIABLE:
            self._note_backend("default", node.args[-1], node.lineno)
        elif name == "set_backend" and first in BACKENDS - {"tensorflow"}:
            self._note_foreign(f'calls set_backend("{first}")', node.lineno)
        elif name in ("import_module", "__import__") and first is not None:
            self._note_import(first, node.lineno)
        elif name == "update":
            self._note_updated(node)
        self.generic_visit(node)

    def _note_updated(self, node: ast.Call) -> None:
        for keyword in node.keywords:
            if keyword.arg == BACKEND_VARIABLE:
                self._note_backend("assigned", keyword.value, node.lineno)
        for given in node.args:
            if isinstance(given, ast.Dict):
                for key, value in zip(given.keys, given.values, strict=True):
                    if key is not None and _text(key) == BACKEND_VARIABLE:
                        self._note_backend("assigned", value, node.lineno)

    def _note_backend(self, kind: str, value: ast.expr, line: int) -> None:
        name = _text(value)
        if name in BACKENDS and getattr(self._found, kind) is None:
            setattr(self._found, kind, BackendSetting(str(name), f"{self._name}:{line}"))

    def _note_import(self, module: str, line: int, members: Sequence[str] = ()) -> None:
        package = module.partition(".")[0]
        if package not in OTHER_FRAMEWORKS:
            self._follow(self._folders, [module, *members])
        elif not (self._optional and importlib.util.find_spec(package) is None):
            self._note_foreign(f"imports {package}", line)

    def _note_foreign(self, what: str, line: int) -> None:
        self._found.foreign = self._found.foreign or f"{self._name}:{line} {what}"

    def _follow(self, folders: Sequence[str], modules: Sequence[str]) -> None:
        self._found.modules += [
            path for name in modules if name for path in local_files(name, folders)
        ]


def local_files(module: str, folders: Sequence[str]) -> list[Path]:
    """The files that importing a local module runs: its packages', and its own."""
    parts = module.split(".")
    for folder in folders:
        files: list[Path] = []
        for end in range(1, len(parts) + 1):
            place = Path(folder, *parts[:end])
            candidates = (place / "__init__.py", place.with_suffix(".py"))
            files += [path for path in candidates if path.is_file()][:1]
        if files:
            return files
    return []


def own_folders() -> list[str]:
    """The folders of ``sys.path`` that hold no installed packages."""
    installed = ("site-packages", "dist-packages", f"{os.sep}lib{os.sep}python", ".zip")
    return [
        folder or str(Path.cwd())
        for folder in sys.path
        if not any(one in folder for one in installed)
    ]


def _is_for_other_backend(test: ast.expr) -> bool:
    """Whether a condition does not hold on TensorFlow, or holds only for type checkers."""
    names = {_name(node) for node in ast.walk(test)}
    texts = {_text(node) for node in ast.walk(test)}
    if "TYPE_CHECKING" in names:
        return isinstance(test, (ast.Name, ast.Attribute))
    about_backend = "backend" in names or BACKEND_VARIABLE in texts
    same = isinstance(test, ast.Compare) and all(
        isinstance(operator, (ast.Eq, ast.In, ast.Is)) for operator in test.ops
    )
    return about_backend and same and bool(texts & BACKENDS) and "tensorflow" not in texts


def _catches_import_errors(handler: ast.ExceptHandler) -> bool:
    caught = {_name(node) for node in ast.walk(handler.type)} if handler.type else {"Exception"}
    return bool(caught & {"ImportError", "ModuleNotFoundError", "Exception", "BaseException"})


def _name(node: ast.AST) -> str | None:
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else None


def _text(node: ast.AST) -> str | None:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None
