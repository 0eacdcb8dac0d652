"""Importing and calling functions of the user's modules and files; errors become one line."""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import inspect
import sys
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import reduce
from pathlib import Path
from typing import Any, TypeVar

from saldiag.core.errors import SaldiagError
from saldiag.core.suggest import suggestion
from saldiag.core.wording import printable
from saldiag.subject.models.spec import CodeReference
from saldiag.subject.source.stack_frames import display_path, is_user_file

T = TypeVar("T")


def evaluate_reference(code: CodeReference, error: type[SaldiagError]) -> Any:
    """Result of the referenced function or class, or the referenced object if it is neither.

    Raises:
        SaldiagError: of type ``error``: the module or attribute does not exist, the function has
            required parameters, or it raises.
    """
    found = resolve_reference(code, error)
    if not callable(found) or not (inspect.isroutine(found) or inspect.isclass(found)):
        return found
    with user_errors_as(error, str(code)):
        _check_no_required_arguments(code, found, error)
        return found()


def resolve_reference(code: CodeReference, error: type[SaldiagError]) -> Any:
    """The referenced function, class or object.

    Raises:
        SaldiagError: of type ``error``: the module or attribute does not exist.
    """
    module = import_module_or_file(code.file or code.location, code.option, error)
    try:
        return reduce(getattr, code.attribute.split("."), module)
    except AttributeError as missing:
        hint = _similar_names_hint(code.attribute, vars(module))
        raise error(f"{code}: no attribute {code.attribute} ({hint})") from missing


def import_module_or_file(
    location: Path | str, option: str, error: type[SaldiagError]
) -> types.ModuleType:
    """Import a module by name, also from the working directory, or a file as a module.

    The folder is put first on ``sys.path`` and stays there, as for a script: imports that the
    program makes later must work as well. A file runs once, however often it is named.

    Args:
        location: a file's path, or a module's dotted name.
        option: the command-line option, for messages.
        error: type of the error to raise.

    Raises:
        SaldiagError: of type ``error``: the module does not exist, or raises.
    """
    where = f"{option} {printable(location)}"
    if isinstance(location, Path):
        _add_to_search_path(location.resolve().parent)
        with user_errors_as(error, where):
            return _file_as_module(location)
    _add_to_search_path(Path.cwd())
    _check_module_exists(location, where, error)
    with user_errors_as(error, where):
        return importlib.import_module(location)


@contextmanager
def user_errors_as(error: type[SaldiagError], where: str) -> Iterator[None]:
    """Convert what the user's code raises in the block to an ``error`` that begins with ``where``.

    Raises:
        SaldiagError: of type ``error``, with the user's line; a ``SaldiagError`` passes unchanged.
    """
    try:
        yield
    except SaldiagError:
        raise
    except SystemExit as exited:
        raise error(f"{where}: called exit() (exit code {exited.code})") from exited
    except Exception as raised:
        kind, text = type(raised).__name__, " ".join(str(raised).split())[:300]
        line = _user_line_of(raised)
        raise error(f"{where}: {kind}: {text}{f' ({line})' if line else ''}") from raised


def _user_line_of(raised: BaseException) -> str:
    """``FILE:LINE`` of the innermost frame of the user's code; empty if there is none."""
    found, trace = "", raised.__traceback__
    while trace is not None:
        name = trace.tb_frame.f_code.co_filename
        if is_user_file(name):
            found = f"{printable(display_path(name))}:{trace.tb_lineno}"
        trace = trace.tb_next
    return found


def _add_to_search_path(folder: Path) -> None:
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
        importlib.invalidate_caches()


def _check_module_exists(name: str, where: str, error: type[SaldiagError]) -> None:
    """Distinguish a module that does not exist from one whose own imports fail."""
    parts = name.split(".")
    for count in range(1, len(parts) + 1):
        part = ".".join(parts[:count])
        with user_errors_as(error, where):  # find_spec imports the parents of a module
            spec = importlib.util.find_spec(part)
        if spec is None:
            raise error(
                f"{where}: no module {part}, neither in the working directory nor installed"
            )


def _file_as_module(file: Path) -> types.ModuleType:
    path = str(file.resolve())
    name = file.stem if file.stem.isidentifier() else "saldiag_subject"
    while (known := sys.modules.get(name)) is not None:
        if getattr(known, "__file__", None) == path:
            return known
        name += "_"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None  # the name ends in .py
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and pickle look up the module by its name
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _similar_names_hint(missing: str, members: dict[str, Any]) -> str:
    """A hint at the closest public callable; if none is close, at those the module defines."""
    names = [name for name, value in members.items() if callable(value) and name[0] != "_"]
    close = difflib.get_close_matches(missing, names, 1)
    module = sys.modules.get(members.get("__name__", ""))
    defined = [name for name in names if inspect.getmodule(members[name]) is module]
    return suggestion(missing, names if close else defined)


def _check_no_required_arguments(
    code: CodeReference, function: Callable[..., Any], error: type[SaldiagError]
) -> None:
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):  # some C functions have no signature
        return
    variadic = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    required = [p.name for p in parameters if p.default is p.empty and p.kind not in variadic]
    if required:
        raise error(
            f"{code}: requires arguments ({', '.join(required)}): name a function without required"
            " arguments"
        )


def load_custom_objects(locations: tuple[str, ...], error: type[SaldiagError]) -> dict[str, Any]:
    """Classes and functions of modules and files by name, as Keras' ``custom_objects``.

    Classes decorated with ``register_keras_serializable`` are registered by the import itself.

    Args:
        locations: values of ``--custom-objects``: names of modules or paths of ``.py`` files.
        error: type of the error to raise.

    Raises:
        SaldiagError: of type ``error``: a module does not exist, or raises.
    """
    objects: dict[str, Any] = {}
    for location in locations:
        if location.endswith(".py") and not Path(location).is_file():
            raise error(f"--custom-objects {printable(location)}: no such file")
        module = Path(location) if location.endswith(".py") else location
        members = vars(import_module_or_file(module, "--custom-objects", error))
        objects |= {
            name: value
            for name, value in members.items()
            if inspect.isclass(value) or inspect.isfunction(value)
        }
    return objects
