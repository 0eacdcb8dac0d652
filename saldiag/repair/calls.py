"""Finds the one call that an edit speaks of, and the place of its argument in the tree."""

from __future__ import annotations

import ast
from dataclasses import dataclass

from saldiag.core.findings.edit import COMPILE, Edit
from saldiag.repair.errors import Uncertain
from saldiag.repair.names import KERAS, ModuleNames
from saldiag.repair.signatures import DTYPE, POSITIONAL_ARGUMENTS, loss_class


@dataclass(frozen=True)
class Slot:
    """Where an expression hangs in the tree; with a way to hang another one there."""

    holder: ast.AST
    field: str
    index: int | None = None

    @property
    def value(self) -> ast.expr:
        """The expression."""
        value = getattr(self.holder, self.field)
        found = value if self.index is None else value[self.index]
        assert isinstance(found, ast.expr)
        return found

    def put(self, value: ast.expr) -> None:
        """Change the tree, not the text."""
        if self.index is None:
            setattr(self.holder, self.field, value)
        else:
            getattr(self.holder, self.field)[self.index] = value


def find_call(tree: ast.Module, names: ModuleNames, edit: Edit) -> ast.Call:
    """The call at the edit's line that makes the layer, or compiles the model.

    Raises:
        Uncertain: there is none, or more than one.
    """
    wanted = COMPILE if edit.within else edit.call
    here = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and edit.source.line in _reported_lines(node)
        and _called_name(node, names) == wanted
    ]
    if len(here) != 1:
        what = f"{len(here)} calls" if here else "no call"
        raise Uncertain(f"line {edit.source.line} has {what} of {wanted}, not one")
    if wanted != COMPILE:
        check_is_keras(here[0], names)
    return here[0]


def _reported_lines(node: ast.Call) -> tuple[int, int | None]:
    """The lines that a traceback may give a call: where it begins, and where its name stands."""
    return node.lineno, node.func.end_lineno


def _called_name(node: ast.Call, names: ModuleNames) -> str:
    """The name of what is called: a class by Keras' name for it, whatever it is imported as."""
    if isinstance(node.func, ast.Attribute) and node.func.attr == COMPILE:
        return COMPILE
    full = names.dotted(node.func) or _written_name(node.func)
    return full.rpartition(".")[2].replace("Convolution", "Conv")


def _written_name(node: ast.expr) -> str:
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""


def check_is_keras(node: ast.Call, names: ModuleNames) -> None:
    """Only what is Keras' own has the arguments that are known here.

    Raises:
        Uncertain: the class comes from elsewhere, or that cannot be told.
    """
    full = names.dotted(node.func)
    if full is None or not full.startswith(f"{KERAS}."):
        raise Uncertain(
            f"{_written_name(node.func) or 'what is called'} is not known to be Keras' own"
        )


def find_argument(call: ast.Call, kind: str, argument: str) -> Slot | None:
    """Where a call is given an argument, by name or by position; ``None`` where it is not.

    Raises:
        Uncertain: ``*`` or ``**`` hides it, or its position is not known.
    """
    if kind not in POSITIONAL_ARGUMENTS and argument != DTYPE:
        raise Uncertain(f"the arguments of {kind} are not known here")
    for keyword in call.keywords:
        if keyword.arg == argument:
            return Slot(keyword, "value")
    positions = POSITIONAL_ARGUMENTS.get(kind, ())
    at = positions.index(argument) if argument in positions else None
    starred = [i for i, given in enumerate(call.args) if isinstance(given, ast.Starred)]
    if at is not None and starred and starred[0] <= at:
        raise Uncertain(f"{kind}(*…) hides its {argument}")
    if at is not None and at < len(call.args):
        return Slot(call, "args", at)
    if starred or any(keyword.arg is None for keyword in call.keywords):
        raise Uncertain(f"{kind}(**…) may hold its {argument}")
    return None


def compile_argument(call: ast.Call, names: ModuleNames, argument: str) -> Slot:
    """What ``compile`` is given as an argument; a name that has one use is followed.

    Raises:
        Uncertain: it is not given.
    """
    slot = find_argument(call, COMPILE, argument)
    if slot is None:
        raise Uncertain(f"compile() is not given its {argument}")
    return follow_name(slot, names)


def follow_name(slot: Slot, names: ModuleNames) -> Slot:
    """Of a name that is assigned a call once and read once that call; else the slot itself."""
    if isinstance(slot.value, ast.Name):
        assigned = names.assigned_for_one_use(slot.value.id)
        if assigned is not None and isinstance(assigned.value, ast.Call):
            return Slot(assigned, "value")
    return slot


def class_without_arguments(node: ast.expr, names: ModuleNames) -> str | None:
    """The class that a string or a bare name stands for, made without arguments; else ``None``."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return loss_class(node.value)
    full = names.dotted(node) if isinstance(node, (ast.Name, ast.Attribute)) else None
    if full is None or not full.startswith(f"{KERAS}."):
        return None
    last = full.rpartition(".")[2]
    return loss_class(last) if last != loss_class(last) else None


def is_call_without_arguments(node: ast.expr, names: ModuleNames, kind: str) -> bool:
    """Whether it is a call of Keras' class without any arguments."""
    if not isinstance(node, ast.Call) or node.args or node.keywords:
        return False
    return names.dotted(node.func) == f"keras.losses.{kind}"
