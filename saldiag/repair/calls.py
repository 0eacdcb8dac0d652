"""Finding the call that an edit refers to, and its argument in the syntax tree."""

from __future__ import annotations

import ast
from dataclasses import dataclass

from saldiag.core.findings.edit import COMPILE, Edit
from saldiag.repair.errors import Uncertain
from saldiag.repair.names import KERAS, ModuleNames
from saldiag.repair.signatures import DTYPE, POSITIONAL_ARGUMENTS, loss_class


@dataclass(frozen=True)
class Slot:
    """Position of an expression in the syntax tree."""

    parent: ast.AST
    """The node that contains it."""
    field: str
    """Name of the parent's field."""
    index: int | None = None
    """Index in the field, if the field is a list; else None."""

    @property
    def value(self) -> ast.expr:
        """The expression."""
        value = getattr(self.parent, self.field)
        found = value if self.index is None else value[self.index]
        assert isinstance(found, ast.expr)
        return found

    def replace_with(self, value: ast.expr) -> None:
        """Put ``value`` at this position of the tree; the text does not change."""
        if self.index is None:
            setattr(self.parent, self.field, value)
        else:
            getattr(self.parent, self.field)[self.index] = value


def find_call(tree: ast.Module, names: ModuleNames, edit: Edit) -> ast.Call:
    """The call at the edit's line that creates the layer, or compiles the model.

    Raises:
        Uncertain: there is none, or more than one.
    """
    called = COMPILE if edit.within else edit.call
    found = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and edit.source.line in _reported_lines(node)
        and _called_name(node, names) == called
    ]
    if len(found) != 1:
        count = f"{len(found)} calls" if found else "no call"
        raise Uncertain(f"line {edit.source.line} has {count} of {called}, expected one")
    if called != COMPILE:
        check_is_keras(found[0], names)
    return found[0]


def _reported_lines(node: ast.Call) -> tuple[int, int | None]:
    """The lines that a traceback may report for a call: of its start, and of its name."""
    return node.lineno, node.func.end_lineno


def _called_name(node: ast.Call, names: ModuleNames) -> str:
    """Name of the called object; for a class its name in Keras, whatever it is imported as."""
    if isinstance(node.func, ast.Attribute) and node.func.attr == COMPILE:
        return COMPILE
    full = names.dotted_name(node.func) or _written_name(node.func)
    return full.rpartition(".")[2].replace("Convolution", "Conv")


def _written_name(node: ast.expr) -> str:
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""


def check_is_keras(node: ast.Call, names: ModuleNames) -> None:
    """Accept only a class of Keras, whose arguments are known.

    Raises:
        Uncertain: the class is not part of Keras, or its origin is not known.
    """
    full = names.dotted_name(node.func)
    if full is None or not full.startswith(f"{KERAS}."):
        called = _written_name(node.func) or "the called object"
        raise Uncertain(f"{called} is not known to be part of Keras")


def find_argument(call: ast.Call, kind: str, argument: str) -> Slot | None:
    """Position of an argument that a call passes by name or position; None if it does not.

    Args:
        call: the call.
        kind: name of the called class, or ``compile``.
        argument: name of the argument.

    Raises:
        Uncertain: ``*`` or ``**`` may contain it, or its position is not known.
    """
    if kind not in POSITIONAL_ARGUMENTS and argument != DTYPE:
        raise Uncertain(f"saldiag does not know the arguments of {kind}")
    for keyword in call.keywords:
        if keyword.arg == argument:
            return Slot(keyword, "value")
    positions = POSITIONAL_ARGUMENTS.get(kind, ())
    index = positions.index(argument) if argument in positions else None
    starred = [i for i, passed in enumerate(call.args) if isinstance(passed, ast.Starred)]
    if index is not None and starred and starred[0] <= index:
        raise Uncertain(f"{kind}(*…) may contain {argument}")
    if index is not None and index < len(call.args):
        return Slot(call, "args", index)
    if starred or any(keyword.arg is None for keyword in call.keywords):
        raise Uncertain(f"{kind}(**…) may contain {argument}")
    return None


def compile_argument(call: ast.Call, names: ModuleNames, argument: str) -> Slot:
    """Position of an argument of ``compile``; a variable that is used once is followed.

    Raises:
        Uncertain: the argument is not passed.
    """
    slot = find_argument(call, COMPILE, argument)
    if slot is None:
        raise Uncertain(f"compile() is called without {argument}")
    return follow_name(slot, names)


def follow_name(slot: Slot, names: ModuleNames) -> Slot:
    """Position of the call assigned to a name that is assigned and read once; else ``slot``."""
    if isinstance(slot.value, ast.Name):
        assigned = names.assigned_for_one_use(slot.value.id)
        if assigned is not None and isinstance(assigned.value, ast.Call):
            return Slot(assigned, "value")
    return slot


def class_without_arguments(node: ast.expr, names: ModuleNames) -> str | None:
    """The loss class that a string or a bare name selects, created without arguments; else None."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return loss_class(node.value)
    full = names.dotted_name(node) if isinstance(node, (ast.Name, ast.Attribute)) else None
    if full is None or not full.startswith(f"{KERAS}."):
        return None
    last = full.rpartition(".")[2]
    return loss_class(last) if last != loss_class(last) else None


def is_call_without_arguments(node: ast.expr, names: ModuleNames, kind: str) -> bool:
    """Whether ``node`` calls the loss class ``kind`` without arguments."""
    if not isinstance(node, ast.Call) or node.args or node.keywords:
        return False
    return names.dotted_name(node.func) == f"keras.losses.{kind}"
