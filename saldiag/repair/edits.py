"""Applying all edits of a file, and verifying that nothing else changes."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from dataclasses import replace

from saldiag.core.findings.edit import Edit
from saldiag.repair.change import TextChange, change_for
from saldiag.repair.errors import Uncertain
from saldiag.repair.names import ModuleNames
from saldiag.repair.source import PythonFile


def apply_edits(data: bytes, edits: Sequence[Edit]) -> bytes:
    """A file's bytes with the edits applied; its syntax tree differs in the edited arguments only.

    Raises:
        Uncertain: it is uncertain how to apply an edit, or two edits overlap.
    """
    file = PythonFile.from_bytes(data)
    names = ModuleNames(file.tree)
    distinct = dict.fromkeys(
        replace(edit, layer="") for edit in edits
    )  # a line may create several layers
    changes = [change_for(file, names, edit) for edit in distinct]
    changes.sort(key=lambda change: (change.start, change.end))
    text = _splice_text(file.text, changes)
    _verify_tree(file, text, changes)
    return file.encode_text(text)


def _splice_text(text: str, changes: Sequence[TextChange]) -> str:
    parts, at = [], 0
    for change in changes:
        if change.start < at:
            raise Uncertain("two edits overlap")
        parts += [text[at : change.start], change.text]
        at = change.end
    return "".join([*parts, text[at:]])


def _verify_tree(file: PythonFile, text: str, changes: Sequence[TextChange]) -> None:
    """Verify that the new text parses to the old tree with the new arguments.

    Raises:
        Uncertain: it does not.
    """
    for change in changes:
        change.apply_to_tree()
    try:
        found = ast.parse(file.encode_text(text))
    except (SyntaxError, ValueError) as error:
        raise Uncertain("the edited file would not be valid Python") from error
    if ast.dump(found) != ast.dump(file.tree):
        raise Uncertain("the edit would change more than the argument")
