"""Turning an edit into a change of the text, and of the tree that the new text must parse to."""

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
"""Modules of the functions that a string can name, too."""
_LOSS_CLASS = re.compile(r"[\w.]+\.losses\.\w+")
"""The only calls that an edit may insert."""
_INSIGNIFICANT_TOKEN = re.compile(r"[ \t\f\r\n]+|,|#[^\r\n]*|\\\r?\n|[()]")
"""Text between the last argument of a call and its closing parenthesis."""


@dataclass(frozen=True)
class TextChange:
    """A replacement in the file's text, and the same change of its syntax tree."""

    start: int
    """Index of the first replaced character."""
    end: int
    """Index after the last replaced character; equal to ``start`` for an insertion."""
    text: str
    """The new text."""
    apply_to_tree: Callable[[], None]
    """Makes the same change in the syntax tree."""


def change_for(file: PythonFile, names: ModuleNames, edit: Edit) -> TextChange:
    """The change of a file that makes an edit.

    Raises:
        Uncertain: the measured value is not written as a literal at the edit's line.
    """
    _check_line_unchanged(file, edit)
    call = find_call(file.tree, names, edit)
    if edit.within:
        return _change_inner_argument(file, names, edit, call)
    slot = find_argument(call, edit.call, edit.argument)
    if edit.call == COMPILE:
        if slot is None:
            raise Uncertain(f"compile() is called without {edit.argument}")
        return _change_loss(file, names, edit, slot)
    return _change_argument(file, names, edit, call, slot)


def _check_line_unchanged(file: PythonFile, edit: Edit) -> None:
    """Refuse a line that differs from the one that ran."""
    recorded = edit.source.text
    if recorded and file.line_text(edit.source.line).strip() != recorded:
        raise Uncertain(f"line {edit.source.line} differs from the one that ran")


def _change_argument(
    file: PythonFile, names: ModuleNames, edit: Edit, call: ast.Call, slot: Slot | None
) -> TextChange:
    if slot is not None:
        if not _is_measured_literal(slot.value, edit.old, names):
            raise Uncertain(f"the {edit.argument} of {edit.call} is not written as {edit.old!r}")
        return _replace_expression(file, slot, edit.new)
    if not is_default(edit.call, edit.argument, edit.old):
        raise Uncertain(f"line {call.lineno} calls {edit.call} without {edit.argument}")
    return _add_argument(file, call, edit)


def _change_inner_argument(
    file: PythonFile, names: ModuleNames, edit: Edit, call: ast.Call
) -> TextChange:
    """Change an argument of the loss or the optimizer that ``compile`` receives."""
    slot = compile_argument(call, names, edit.within)
    passed = slot.value
    if class_without_arguments(passed, names) == edit.call:
        return _expand_loss_name(file, names, edit, slot)
    name = names.dotted_name(passed.func) if isinstance(passed, ast.Call) else None
    if not isinstance(passed, ast.Call) or (name or "").rpartition(".")[2] != edit.call:
        raise Uncertain(f"the {edit.within} of compile() is not written as {edit.call}(…)")
    check_is_keras(passed, names)
    inner_slot = find_argument(passed, edit.call, edit.argument)
    return _change_argument(file, names, edit, passed, inner_slot)


def _expand_loss_name(file: PythonFile, names: ModuleNames, edit: Edit, slot: Slot) -> TextChange:
    """Replace ``"mse"``, which means a call without arguments, by the call with one argument."""
    if not is_default(edit.call, edit.argument, edit.old):
        raise Uncertain(f"compile() receives {edit.within} as a name")
    text = f"keras.losses.{edit.call}({edit.argument}={edit.new})"
    return _replace_expression(file, slot, _with_keras_prefix(names, text, slot.value.lineno))


def _change_loss(file: PythonFile, names: ModuleNames, edit: Edit, slot: Slot) -> TextChange:
    """Replace the loss; the one in the file must be the measured one beyond doubt."""
    measured = loss_class(str(edit.old))
    written = class_without_arguments(slot.value, names)
    if measured is None or (
        written != measured and not is_call_without_arguments(slot.value, names, measured)
    ):
        raise Uncertain(f"the {edit.argument} of compile() is not written as {edit.old!r}")
    return _replace_expression(file, slot, _with_keras_prefix(names, edit.new, slot.value.lineno))


def _with_keras_prefix(names: ModuleNames, text: str, line: int) -> str:
    if not text.startswith("keras."):
        return text
    keras = names.keras_prefix(line)
    if keras is None:
        raise Uncertain("the file does not import keras at the top level")
    return keras + text.removeprefix("keras")


def _is_measured_literal(node: ast.expr, old: Plain, names: ModuleNames) -> bool:
    """Whether an expression is the measured literal, or Keras' function of that name."""
    if isinstance(node, (ast.Name, ast.Attribute)):
        full = names.dotted_name(node)
        return full is not None and any(full == f"{place}{old}" for place in _ACTIVATION_MODULES)
    try:
        value = ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return False
    if old is None and value == "linear":
        return True
    return equals_measured(value, old)


def _replace_expression(file: PythonFile, slot: Slot, new: str) -> TextChange:
    start, end = file.node_span(slot.value)
    written = file.text[start:end]
    if "\n" in written or "\r" in written:
        raise Uncertain(f"the expression at line {slot.value.lineno} spans several lines")
    text = _with_same_quotes(new, written)
    tree = parse_edit_text(text)
    return TextChange(start, end, text, lambda: slot.replace_with(tree))


def parse_edit_text(new: str) -> ast.expr:
    """The tree of an edit's text, which must be a literal or a loss call with literal arguments.

    The text comes from a run's file, which could contain anything.

    Raises:
        Uncertain: it is anything else.
    """
    try:
        tree = ast.parse(new, mode="eval").body
    except (SyntaxError, ValueError) as error:
        raise Uncertain("the run's edit is not valid Python") from error
    call = tree if isinstance(tree, ast.Call) else None
    parts = [keyword.value for keyword in call.keywords] if call else [tree]
    known = call is None or (not call.args and _LOSS_CLASS.fullmatch(ast.unparse(call.func)))
    if not known or not all(isinstance(part, ast.Constant) for part in parts):
        raise Uncertain("the run's edit is not a literal")
    return tree


def _with_same_quotes(new: str, written: str) -> str:
    """``new`` in the kind of quotes that ``written`` has, if both are plain strings."""
    single = written.lstrip("rRuUbB").startswith("'")
    return f"'{new[1:-1]}'" if single and new.startswith('"') and "'" not in new else new


def _add_argument(file: PythonFile, call: ast.Call, edit: Edit) -> TextChange:
    """Add the argument after the last one; on its own line if the last one has its own line."""
    text = f"{edit.argument}={edit.new}"
    keyword = ast.keyword(edit.argument, parse_edit_text(edit.new))
    passed: list[ast.expr] = [*call.args, *(keyword.value for keyword in call.keywords)]
    ends = [(file.node_span(node), node) for node in passed]
    if not ends:
        at = _insertion_in_empty_call(file, call)
        return TextChange(at, at, text, lambda: call.keywords.append(keyword))
    (_, end), last = max(ends, key=lambda known: known[0][1])
    at, text = _insertion_after_last(file, call, last, end, text)
    return TextChange(at, at, text, lambda: call.keywords.append(keyword))


def _insertion_after_last(
    file: PythonFile, call: ast.Call, last: ast.expr, end: int, text: str
) -> tuple[int, str]:
    """Where to insert the argument after the last one, and its text with separators."""
    closing = file.node_span(call)[1] - 1
    gap = _tokens_between(file, end, closing)
    separator, comma = _argument_separator(file, call, last), [t for t in gap if t.group() == ","]
    line_end = re.compile(r"\r?\n").search(file.text, comma[0].start() if comma else end, closing)
    if separator != " " and comma and line_end:
        return line_end.start(), f"{separator}{text},"
    parentheses = [token.end() for token in gap if token.group() == ")"]
    if any(token.group().startswith("#") for token in gap):
        separator = " "  # stay on the last argument's line, before its comment
    return (parentheses[-1] if parentheses else end), f",{separator}{text}"


def _insertion_in_empty_call(file: PythonFile, call: ast.Call) -> int:
    """Index after the opening parenthesis of a call without arguments."""
    start, end = file.node_span(call.func)[1], file.node_span(call)[1] - 1
    opening = [found for found in _tokens_between(file, start, end) if found.group() == "("]
    if len(opening) != 1:
        raise Uncertain(f"the call at line {call.lineno} has extra parentheses")
    return opening[0].end()


def _tokens_between(file: PythonFile, start: int, end: int) -> list[re.Match[str]]:
    """The tokens between two characters: spaces, commas, comments and parentheses.

    Raises:
        Uncertain: there is anything else.
    """
    found, at = [], start
    while at < end:
        match = _INSIGNIFICANT_TOKEN.match(file.text, at, end)
        if match is None:
            raise Uncertain("the code after the last argument cannot be parsed")
        found.append(match)
        at = match.end()
    return found


def _argument_separator(file: PythonFile, call: ast.Call, last: ast.expr) -> str:
    """Separator of two arguments: a space, or a line end and the last argument's indentation."""
    owner = next((keyword for keyword in call.keywords if keyword.value is last), last)
    line = file.line_text(owner.lineno)
    indentation = line[: len(line) - len(line.lstrip(" \t"))]
    if owner.lineno == call.lineno or owner.col_offset != len(indentation):
        return " "
    return (line[len(line.rstrip("\r\n")) :] or "\n") + indentation
