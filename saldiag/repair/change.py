"""Turns an edit into a change of the text, and of the tree that the text then has to have."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable
from dataclasses import dataclass

from saldiag.core.findings.edit import COMPILE, Edit, Plain
from saldiag.repair.calls import (
    Slot,
    check_is_keras,
    class_without_arguments,
    compile_argument,
    find_argument,
    find_call,
    is_call_without_arguments,
)
from saldiag.repair.errors import Uncertain
from saldiag.repair.names import ModuleNames
from saldiag.repair.signatures import equals_measured, is_default, loss_class
from saldiag.repair.source import PythonFile

_ACTIVATION_MODULES = ("keras.activations.", "keras.ops.", "tensorflow.nn.")
"""Where the functions lie that a string may name as well."""
_LOSS_CLASS = re.compile(r"[\w.]+\.losses\.\w+")
"""What an edit may call."""
_INSIGNIFICANT_TOKEN = re.compile(r"[ \t\f\r\n]+|,|#[^\r\n]*|\\\r?\n|[()]")
"""What can stand between the last argument of a call and its closing bracket."""


@dataclass(frozen=True)
class TextChange:
    """Characters ``start`` to ``end`` become ``text``; ``grow`` does the same to the tree."""

    start: int
    end: int
    text: str
    grow: Callable[[], None]


def change_for(file: PythonFile, names: ModuleNames, edit: Edit) -> TextChange:
    """What an edit is in a file.

    Raises:
        Uncertain: the file does not say plainly what was measured.
    """
    _check_line_unchanged(file, edit)
    call = find_call(file.tree, names, edit)
    if edit.within:
        return _change_inner_argument(file, names, edit, call)
    slot = find_argument(call, edit.call, edit.argument)
    if edit.call == COMPILE:
        if slot is None:
            raise Uncertain(f"compile() is not given its {edit.argument}")
        return _change_loss(file, names, edit, slot)
    return _change_argument(file, names, edit, call, slot)


def _check_line_unchanged(file: PythonFile, edit: Edit) -> None:
    """The line has to be the one that was seen while the program ran."""
    seen = edit.source.text
    if seen and file.line(edit.source.line).strip() != seen:
        raise Uncertain(f"line {edit.source.line} is not the one that ran")


def _change_argument(
    file: PythonFile, names: ModuleNames, edit: Edit, call: ast.Call, slot: Slot | None
) -> TextChange:
    if slot is not None:
        if not _is_measured_literal(slot.value, edit.old, names):
            raise Uncertain(f"{edit.call}'s {edit.argument} is not written as {edit.old!r}")
        return _replace_expression(file, slot, edit.new)
    if not is_default(edit.call, edit.argument, edit.old):
        raise Uncertain(f"{edit.call} is not given its {edit.argument} at line {call.lineno}")
    return _add_argument(file, call, edit)


def _change_inner_argument(
    file: PythonFile, names: ModuleNames, edit: Edit, call: ast.Call
) -> TextChange:
    """An argument of the loss or the optimizer that ``compile`` is given."""
    slot = compile_argument(call, names, edit.within)
    given = slot.value
    if class_without_arguments(given, names) == edit.call:
        return _expand_loss_name(file, names, edit, slot)
    name = names.dotted(given.func) if isinstance(given, ast.Call) else None
    if not isinstance(given, ast.Call) or (name or "").rpartition(".")[2] != edit.call:
        raise Uncertain(f"compile's {edit.within} is not written as {edit.call}(…) there")
    check_is_keras(given, names)
    slot_in = find_argument(given, edit.call, edit.argument)
    return _change_argument(file, names, edit, given, slot_in)


def _expand_loss_name(file: PythonFile, names: ModuleNames, edit: Edit, slot: Slot) -> TextChange:
    """``"mse"`` is a call without arguments: it becomes the call with one."""
    if not is_default(edit.call, edit.argument, edit.old):
        raise Uncertain(f"compile's {edit.within} is given by its name")
    text = f"keras.losses.{edit.call}({edit.argument}={edit.new})"
    return _replace_expression(file, slot, _with_keras_prefix(names, text, slot.value.lineno))


def _change_loss(file: PythonFile, names: ModuleNames, edit: Edit, slot: Slot) -> TextChange:
    """Another loss: the one that is given has to be plainly the one that was measured."""
    kind = loss_class(str(edit.old))
    given = class_without_arguments(slot.value, names)
    if kind is None or (given != kind and not is_call_without_arguments(slot.value, names, kind)):
        raise Uncertain(f"compile's {edit.argument} is not written as {edit.old!r}")
    return _replace_expression(file, slot, _with_keras_prefix(names, edit.new, slot.value.lineno))


def _with_keras_prefix(names: ModuleNames, text: str, line: int) -> str:
    if not text.startswith("keras."):
        return text
    keras = names.keras(line)
    if keras is None:
        raise Uncertain("the file does not import keras at its top")
    return keras + text.removeprefix("keras")


def _is_measured_literal(node: ast.expr, old: Plain, names: ModuleNames) -> bool:
    """Whether an expression is the literal that was measured, or Keras' function of that name."""
    if isinstance(node, (ast.Name, ast.Attribute)):
        full = names.dotted(node)
        return full is not None and any(full == f"{place}{old}" for place in _ACTIVATION_MODULES)
    try:
        value = ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return False
    if old is None and value == "linear":
        return True
    return equals_measured(value, old)


def _replace_expression(file: PythonFile, slot: Slot, new: str) -> TextChange:
    start, end = file.span(slot.value)
    written = file.text[start:end]
    if "\n" in written or "\r" in written:
        raise Uncertain(f"line {slot.value.lineno} begins an expression of several lines")
    text = _with_same_quotes(new, written)
    tree = parse_edit_text(text)
    return TextChange(start, end, text, lambda: slot.put(tree))


def parse_edit_text(new: str) -> ast.expr:
    """The tree of an edit's text: a literal, or a call with literals; it comes from a file.

    Raises:
        Uncertain: it is anything else.
    """
    try:
        tree = ast.parse(new, mode="eval").body
    except (SyntaxError, ValueError) as error:
        raise Uncertain("the run's edit is no Python") from error
    call = tree if isinstance(tree, ast.Call) else None
    parts = [keyword.value for keyword in call.keywords] if call else [tree]
    known = call is None or (not call.args and _LOSS_CLASS.fullmatch(ast.unparse(call.func)))
    if not known or not all(isinstance(part, ast.Constant) for part in parts):
        raise Uncertain("the run's edit is no literal")
    return tree


def _with_same_quotes(new: str, written: str) -> str:
    """A plain string in the quotes that the old one had."""
    single = written.lstrip("rRuUbB").startswith("'")
    return f"'{new[1:-1]}'" if single and new.startswith('"') and "'" not in new else new


def _add_argument(file: PythonFile, call: ast.Call, edit: Edit) -> TextChange:
    """The argument behind the last one, on a line of its own where that has one."""
    text = f"{edit.argument}={edit.new}"
    keyword = ast.keyword(edit.argument, parse_edit_text(edit.new))
    given: list[ast.expr] = [*call.args, *(keyword.value for keyword in call.keywords)]
    ends = [(file.span(node), node) for node in given]
    if not ends:
        at = _insertion_in_empty_call(file, call)
        return TextChange(at, at, text, lambda: call.keywords.append(keyword))
    (_, end), last = max(ends, key=lambda known: known[0][1])
    at, text = _insertion_after_last(file, call, last, end, text)
    return TextChange(at, at, text, lambda: call.keywords.append(keyword))


def _insertion_after_last(
    file: PythonFile, call: ast.Call, last: ast.expr, end: int, text: str
) -> tuple[int, str]:
    """Where the argument goes, and with what before and behind it."""
    closing = file.span(call)[1] - 1
    gap = _tokens_between(file, end, closing)
    apart, comma = _argument_separator(file, call, last), [g for g in gap if g.group() == ","]
    line_end = re.compile(r"\r?\n").search(file.text, comma[0].start() if comma else end, closing)
    if apart != " " and comma and line_end:
        return line_end.start(), f"{apart}{text},"
    brackets = [g.end() for g in gap if g.group() == ")"]
    apart = (
        " " if any(g.group().startswith("#") for g in gap) else apart
    )  # it goes on with the last
    return (brackets[-1] if brackets else end), f",{apart}{text}"


def _insertion_in_empty_call(file: PythonFile, call: ast.Call) -> int:
    """Behind the opening bracket of a call without arguments."""
    start, end = file.span(call.func)[1], file.span(call)[1] - 1
    opening = [found for found in _tokens_between(file, start, end) if found.group() == "("]
    if len(opening) != 1:
        raise Uncertain(f"the brackets at line {call.lineno} are too many to tell apart")
    return opening[0].end()


def _tokens_between(file: PythonFile, start: int, end: int) -> list[re.Match[str]]:
    found, at = [], start
    while at < end:
        match = _INSIGNIFICANT_TOKEN.match(file.text, at, end)
        if match is None:
            raise Uncertain("what stands behind the last argument is not understood")
        found.append(match)
        at = match.end()
    return found


def _argument_separator(file: PythonFile, call: ast.Call, last: ast.expr) -> str:
    """What stands between two arguments: a line end and as much room as the last one has."""
    owner = next((keyword for keyword in call.keywords if keyword.value is last), last)
    line = file.line(owner.lineno)
    before = line[: len(line) - len(line.lstrip(" \t"))]
    if owner.lineno == call.lineno or owner.col_offset != len(before):
        return " "
    return (line[len(line.rstrip("\r\n")) :] or "\n") + before
