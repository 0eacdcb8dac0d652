"""All edits of a file at once: the new bytes, and the proof that nothing else has changed."""

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
    """A file's bytes with the edits made: they parse, and differ in those arguments alone.

    Raises:
        Uncertain: an edit is not certain, or two of them want the same place.
    """
    file = PythonFile.read(data)
    names = ModuleNames(file.tree)
    once = dict.fromkeys(replace(edit, layer="") for edit in edits)  # a line may make several
    changes = [change_for(file, names, edit) for edit in once]
    changes.sort(key=lambda change: (change.start, change.end))
    text = _splice_text(file.text, changes)
    _verify_tree(file, text, changes)
    return file.encode(text)


def _splice_text(text: str, changes: Sequence[TextChange]) -> str:
    parts, at = [], 0
    for change in changes:
        if change.start < at:
            raise Uncertain("two edits want the same place")
        parts += [text[at : change.start], change.text]
        at = change.end
    return "".join([*parts, text[at:]])


def _verify_tree(file: PythonFile, text: str, changes: Sequence[TextChange]) -> None:
    """The new text has to be the old tree with the new arguments in it."""
    for change in changes:
        change.grow()
    try:
        found = ast.parse(file.encode(text))
    except (SyntaxError, ValueError) as error:
        raise Uncertain("the edited file would be no Python") from error
    if ast.dump(found) != ast.dump(file.tree):
        raise Uncertain("the edit would change more than the argument")
