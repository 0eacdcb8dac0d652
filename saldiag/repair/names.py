"""Resolving the names of a file to what they import, if there is no doubt about it."""

from __future__ import annotations

import ast
import builtins
from collections import defaultdict
from collections.abc import Iterator

KERAS = "keras"
_KERAS_ALIASES = ("tensorflow.keras", "keras.api")
"""Other names of Keras' package."""


def canonical_name(dotted: str) -> str:
    """A dotted name in which Keras' package is always called ``keras``."""
    for other in _KERAS_ALIASES:
        if dotted == other or dotted.startswith(f"{other}."):
            return KERAS + dotted[len(other) :]
    return dotted


class ModuleNames:
    """All names that a module binds, in any scope; a name bound to two things is not resolved."""

    def __init__(self, tree: ast.Module) -> None:
        self._bound: dict[str, set[str | None]] = defaultdict(set)
        self._aliases: dict[str, ast.expr] = {}
        self._stars: set[str] = set()
        self._loads: dict[str, int] = defaultdict(int)
        self._stores: dict[str, int] = defaultdict(int)
        self._assigned: dict[str, ast.Assign] = {}
        self._imported = {
            alias.asname or alias.name.partition(".")[0]: node.lineno
            for node in tree.body
            if isinstance(node, (ast.Import, ast.ImportFrom))
            for alias in node.names
        }
        for node in ast.walk(tree):
            self._record_bindings(node)

    def _record_bindings(self, node: ast.AST) -> None:
        if isinstance(node, ast.Import):
            for alias in node.names:
                name = alias.asname or alias.name.partition(".")[0]
                self._bound[name].add(canonical_name(alias.name if alias.asname else name))
        elif isinstance(node, ast.ImportFrom):
            self._record_import_from(node)
        elif isinstance(node, ast.Assign) and len(node.targets) == 1:
            self._record_assignment(node)
        elif isinstance(node, ast.Name):
            counts = self._loads if isinstance(node.ctx, ast.Load) else self._stores
            counts[node.id] += 1
        else:
            for name in _other_bindings(node):
                self._bound[name].add(None)

    def _record_import_from(self, node: ast.ImportFrom) -> None:
        module = "." * node.level + (node.module or "")
        for alias in node.names:
            if alias.name == "*":
                self._stars.add(canonical_name(module))
            else:
                self._bound[alias.asname or alias.name].add(
                    canonical_name(f"{module}.{alias.name}")
                )

    def _record_assignment(self, node: ast.Assign) -> None:
        target = node.targets[0]
        if isinstance(target, ast.Name):
            self._assigned[target.id] = node

    def dotted_name(self, node: ast.AST) -> str | None:
        """Full name of what an expression refers to (``keras.layers.Dense``); None if unknown."""
        if isinstance(node, ast.Attribute):
            owner = self.dotted_name(node.value)
            return None if owner is None else canonical_name(f"{owner}.{node.attr}")
        return self._name_target(node.id) if isinstance(node, ast.Name) else None

    def _name_target(self, name: str, depth: int = 0) -> str | None:
        bound = self._bound.get(name, set())
        if self._stores.get(name):
            return None if bound else self._alias_target(name, depth)
        if bound:
            return next(iter(bound)) if len(bound) == 1 else None
        if len(self._stars) == 1 and not hasattr(builtins, name):
            return f"{next(iter(self._stars))}.{name}"
        return None

    def _alias_target(self, name: str, depth: int) -> str | None:
        """Full name of an alias such as ``layers = keras.layers`` that is assigned once."""
        node = self._assigned.get(name)
        if node is None or self._stores[name] != 1 or depth > len(self._assigned):
            return None
        parts, value = [], node.value
        while isinstance(value, ast.Attribute):
            parts.append(value.attr)
            value = value.value
        root = self._name_target(value.id, depth + 1) if isinstance(value, ast.Name) else None
        return None if root is None else canonical_name(".".join([root, *reversed(parts)]))

    def assigned_for_one_use(self, name: str) -> ast.Assign | None:
        """The assignment of a name that the file assigns once and reads once; else None."""
        once = self._stores.get(name) == 1 and self._loads.get(name) == 1
        return self._assigned.get(name) if once and not self._bound.get(name) else None

    def keras_prefix(self, line: int) -> str | None:
        """How the file refers to Keras at a line: ``keras`` or ``tf.keras``.

        None if there is no import above that line at the top level of the module.
        """
        known = [name for name, at in self._imported.items() if at < line]
        for package, suffix in ((KERAS, ""), ("tensorflow", ".keras")):
            for name in known:
                if self._name_target(name) == package:
                    return f"{name}{suffix}"
        return None


def _other_bindings(node: ast.AST) -> Iterator[str]:
    """Names that a node binds other than by an import or an assignment."""
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        yield node.name
    elif isinstance(node, ast.arg):
        yield node.arg
    elif isinstance(node, (ast.ExceptHandler, ast.MatchAs, ast.MatchStar)) and node.name:
        yield node.name
    elif isinstance(node, ast.MatchMapping) and node.rest:
        yield node.rest
