"""Finding the table entry that an error comes from."""

from __future__ import annotations

import re
import sys
from typing import Any

from saldiag.subject.compat.arguments import ARGUMENTS
from saldiag.subject.compat.bridge import KERAS_NAMES
from saldiag.subject.compat.entries import ChangedMethod, RemovedMember, Rename, RenamedArgument
from saldiag.subject.compat.members import MEMBERS, WRAPPED
from saldiag.subject.compat.names import NAMES

_IMPORT_NAME = re.compile(r"cannot import name '(\w+)' from '([\w.]+)'")
_MODULE_ATTRIBUTE = re.compile(r"module '([\w.]+)' has no attribute '(\w+)'")
_NUMPY_REMOVED = re.compile(r"`np\.(\w+)` was removed")
_UNEXPECTED_KEYWORD = re.compile(
    r"(\w+)(?:\.__init__)?\(\) got an unexpected keyword argument '(\w+)'"
)
_UNRECOGNISED_ARGUMENT = re.compile(
    r"(?:Unrecognized keyword arguments passed to (\w+): |Arguments? (?:\(s\) )?not recognized: |"
    r"Argument\(s\) not recognized: ){'(\w+)'"
)
_MISSING_POSITIONAL = re.compile(r"(\w+)\.__init__\(\) missing \d+ required positional argument")


def find_rename(error: BaseException, statement: str) -> Rename | None:
    """The table entry that an error comes from; None if it comes from none of them.

    Args:
        error: the error that ended the program.
        statement: source text of the user's statement that raised it.
    """
    return (
        _find_name(error)
        or _find_member(error)
        or _find_argument(error, statement)
        or _find_changed_method(error, statement)
    )


def _find_name(error: BaseException) -> Rename | None:
    """The entry of a module or name that does not exist."""
    missing = _missing_dotted_name(error)
    if missing is None:
        return None
    for root in sorted(KERAS_NAMES, key=len, reverse=True):
        if missing == root or missing.startswith(f"{root}."):
            missing = "keras" + missing.removeprefix(root)
            break
    return next((entry for entry in NAMES if f"{entry.owner}.{entry.old_name}" == missing), None)


def _missing_dotted_name(error: BaseException) -> str | None:
    """Dotted name that an import or an attribute access did not find; None for other errors."""
    text = str(error)
    if isinstance(error, ModuleNotFoundError):
        return error.name
    if isinstance(error, ImportError) and (match := _IMPORT_NAME.search(text)):
        return f"{match[2]}.{match[1]}"
    if isinstance(error, AttributeError):
        if match := _MODULE_ATTRIBUTE.search(text):
            return f"{match[1]}.{match[2]}"
        if match := _NUMPY_REMOVED.search(text):
            return f"numpy.{match[1]}"
    return None


def _find_member(error: BaseException) -> RemovedMember | None:
    """The entry of a method or attribute that an object no longer has."""
    if not isinstance(error, AttributeError) or error.obj is None:
        return None
    named = [entry for entry in MEMBERS if entry.old_name == error.name]
    return next(
        (entry for entry in named if isinstance(error.obj, _keras_class(entry.owner))), None
    )


def _keras_class(dotted: str) -> type:
    """A class of Keras; a class without instances if the program never imported Keras."""
    module, _, name = dotted.rpartition(".")
    value: Any = getattr(sys.modules.get(module), name, None)
    return value if isinstance(value, type) else _NoInstances


class _NoInstances:
    pass


def _find_argument(error: BaseException, statement: str) -> RenamedArgument | None:
    """The entry of a keyword that a call refuses, or whose current name a call requires."""
    if not isinstance(error, (TypeError, ValueError)):
        return None
    text = str(error)
    for pattern in (_UNEXPECTED_KEYWORD, _UNRECOGNISED_ARGUMENT):
        if match := pattern.search(text):
            return _argument_entry(match[1], match[2], statement)
    if match := _MISSING_POSITIONAL.search(text):
        keywords = re.findall(r"(\w+)\s*=", statement)
        return next(
            (entry for old in keywords if (entry := _argument_entry(match[1], old, statement))),
            None,
        )
    return None


def _argument_entry(owner: str | None, old: str, statement: str) -> RenamedArgument | None:
    """The entry of a keyword ``old``.

    Args:
        owner: short name of the class or function that refuses it; None if the error has none.
        old: the keyword.
        statement: source text of the user's statement.
    """
    named = [entry for entry in ARGUMENTS if entry.old_name == old]
    if owner is not None:
        named = [entry for entry in named if _owner_name(entry) == owner]
    # Without an owner, prefer one that the statement calls.
    return min(named, key=lambda entry: f"{_owner_name(entry)}(" not in statement, default=None)


def _owner_name(entry: RenamedArgument) -> str:
    return entry.owner.rpartition(".")[2]


def _find_changed_method(error: BaseException, statement: str) -> ChangedMethod | None:
    """The entry of a method that refuses what it accepted before."""
    text = " ".join(str(error).split())
    if isinstance(error, KeyError) and not re.search(
        r"hist|logs|callback filepath", statement + text
    ):
        return None  # any dictionary can lack the key
    matching = (
        entry for entry in WRAPPED if entry.error_pattern and re.search(entry.error_pattern, text)
    )
    return next(matching, None)
