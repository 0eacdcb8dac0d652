"""Finds the entry that an error comes from."""

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
    """The entry that an error comes from; None where it comes from none of them.

    Args:
        error: what ended the program.
        statement: the text of the user's statement that it came from.
    """
    return (
        _find_name(error)
        or _find_member(error)
        or _find_argument(error, statement)
        or _find_changed_method(error, statement)
    )


def _find_name(error: BaseException) -> Rename | None:
    """A module or a name that is not there."""
    wanted = _missing_dotted_name(error)
    if wanted is None:
        return None
    for root in sorted(KERAS_NAMES, key=len, reverse=True):
        if wanted == root or wanted.startswith(f"{root}."):
            wanted = "keras" + wanted.removeprefix(root)
            break
    return next((entry for entry in NAMES if f"{entry.place}.{entry.old}" == wanted), None)


def _missing_dotted_name(error: BaseException) -> str | None:
    """The dotted name of what an import or a look into a module did not find."""
    text = str(error)
    if isinstance(error, ModuleNotFoundError):
        return error.name
    if isinstance(error, ImportError) and (found := _IMPORT_NAME.search(text)):
        return f"{found[2]}.{found[1]}"
    if isinstance(error, AttributeError):
        if found := _MODULE_ATTRIBUTE.search(text):
            return f"{found[1]}.{found[2]}"
        if found := _NUMPY_REMOVED.search(text):
            return f"numpy.{found[1]}"
    return None


def _find_member(error: BaseException) -> RemovedMember | None:
    """A method or attribute that an object has no more."""
    if not isinstance(error, AttributeError) or error.obj is None:
        return None
    named = [entry for entry in MEMBERS if entry.old == error.name]
    return next(
        (entry for entry in named if isinstance(error.obj, _keras_class(entry.place))), None
    )


def _keras_class(place: str) -> type:
    """A class of Keras; one that has no instances where Keras was never imported."""
    module, _, name = place.rpartition(".")
    found: Any = getattr(sys.modules.get(module), name, None)
    return found if isinstance(found, type) else _NoInstances


class _NoInstances:
    pass


def _find_argument(error: BaseException, statement: str) -> RenamedArgument | None:
    """A keyword that is not taken, or one that the name of today is missing for."""
    if not isinstance(error, (TypeError, ValueError)):
        return None
    text = str(error)
    for pattern in (_UNEXPECTED_KEYWORD, _UNRECOGNISED_ARGUMENT):
        if found := pattern.search(text):
            return _argument_entry(found[1], found[2], statement)
    if found := _MISSING_POSITIONAL.search(text):
        written = re.findall(r"(\w+)\s*=", statement)
        return next(
            (entry for old in written if (entry := _argument_entry(found[1], old, statement))), None
        )
    return None


def _argument_entry(owner: str | None, old: str, statement: str) -> RenamedArgument | None:
    """The keyword of a class, a method or a function, by the owner's short name."""
    named = [entry for entry in ARGUMENTS if entry.old == old]
    if owner is not None:
        named = [entry for entry in named if _owner_name(entry) == owner]
    # Untold whose keyword it is, what stands in the statement is likelier than another.
    return min(named, key=lambda entry: f"{_owner_name(entry)}(" not in statement, default=None)


def _owner_name(entry: RenamedArgument) -> str:
    return entry.place.rpartition(".")[2]


def _find_changed_method(error: BaseException, statement: str) -> ChangedMethod | None:
    """What a method refuses today."""
    text = " ".join(str(error).split())
    if isinstance(error, KeyError) and not re.search(
        r"hist|logs|callback filepath", statement + text
    ):
        return None  # any dictionary can lack the key
    found = (entry for entry in WRAPPED if entry.error and re.search(entry.error, text))
    return next(found, None)
