"""Take a function out of a user's module or file, and call it; what goes wrong is one line."""

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
from saldiag.subject.source.stack_frames import is_user, shown_path

T = TypeVar("T")


def made_by(code: CodeReference, error: type[SaldiagError]) -> Any:
    """What the named function returns, or the named thing itself where it cannot be called.

    Raises:
        SaldiagError: of the type ``error``: there is no such module or attribute, it wants
            arguments, or it raises.
    """
    found = named(code, error)
    if not callable(found) or not (inspect.isroutine(found) or inspect.isclass(found)):
        return found
    with theirs(str(code), error):
        _refuse_arguments(code, found, error)
        return found()


def named(code: CodeReference, error: type[SaldiagError]) -> Any:
    """The named function, class or object.

    Raises:
        SaldiagError: of the type ``error``: there is no such module or attribute.
    """
    module = imported(code.file or code.place, code.option, error)
    try:
        return reduce(getattr, code.attribute.split("."), module)
    except AttributeError as missing:
        hint = _public(code.attribute, vars(module))
        raise error(f"{code}: no {code.attribute} in it ({hint})") from missing


def imported(place: Path | str, option: str, error: type[SaldiagError]) -> types.ModuleType:
    """A module by its name, from the working directory too, or a file as a module.

    The folder goes in front of the search path and stays there, as with a script: what a program
    imports late has to be found as well. A file is run once however often it is named.

    Raises:
        SaldiagError: of the type ``error``: it is not there, or raises.
    """
    where = f"{option} {printable(place)}"
    if isinstance(place, Path):
        _search(place.resolve().parent)
        with theirs(where, error):
            return _file_as_module(place)
    _search(Path.cwd())
    _refuse_unknown(place, where, error)
    with theirs(where, error):
        return importlib.import_module(place)


@contextmanager
def theirs(where: str, error: type[SaldiagError]) -> Iterator[None]:
    """Code of the user's runs in the block: what it raises becomes an ``error`` that says where."""
    try:
        yield
    except SaldiagError:
        raise
    except SystemExit as left:
        raise error(f"{where}: it ended the program (exit code {left.code})") from left
    except Exception as raised:
        kind, text = type(raised).__name__, " ".join(str(raised).split())[:300]
        at = _line_of(raised)
        raise error(f"{where}: {kind}: {text}{f' ({at})' if at else ''}") from raised


def _line_of(raised: BaseException) -> str:
    """File and line of the innermost frame of the user's that it came from."""
    at, trace = "", raised.__traceback__
    while trace is not None:
        name = trace.tb_frame.f_code.co_filename
        if is_user(name):
            at = f"{printable(shown_path(name))}:{trace.tb_lineno}"
        trace = trace.tb_next
    return at


def _search(folder: Path) -> None:
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
        importlib.invalidate_caches()


def _refuse_unknown(name: str, where: str, error: type[SaldiagError]) -> None:
    """Tell a module that is not there from one whose own imports fail."""
    parts = name.split(".")
    for count in range(1, len(parts) + 1):
        part = ".".join(parts[:count])
        with theirs(where, error):  # the parents of a module are run to look for it
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
    sys.modules[name] = module  # dataclasses and pickles look their module up
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _public(wanted: str, members: dict[str, Any]) -> str:
    names = [name for name, value in members.items() if callable(value) and name[0] != "_"]
    close = difflib.get_close_matches(wanted, names, 1)
    own = [name for name in names if inspect.getmodule(members[name]) is sys.modules.get(
        members.get("__name__", ""))]  # fmt: skip
    return suggestion(wanted, names if close else own)


def _refuse_arguments(
    code: CodeReference, function: Callable[..., Any], error: type[SaldiagError]
) -> None:
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):  # some of C's have none
        return
    plain = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    wanted = [p.name for p in parameters if p.default is p.empty and p.kind not in plain]
    if wanted:
        raise error(
            f"{code}: it wants arguments ({', '.join(wanted)}): name a function that wants none"
        )


def collected(places: tuple[str, ...], error: type[SaldiagError]) -> dict[str, Any]:
    """Classes and functions of modules and files, by name: what ``--custom-objects`` offers Keras.

    What is decorated as serializable registers itself on import.

    Raises:
        SaldiagError: of the type ``error``: a module is not there, or raises.
    """
    objects: dict[str, Any] = {}
    for place in places:
        if place.endswith(".py") and not Path(place).is_file():
            raise error(f"--custom-objects {printable(place)}: no such file")
        where = Path(place) if place.endswith(".py") else place
        members = vars(imported(where, "--custom-objects", error))
        objects |= {
            name: value
            for name, value in members.items()
            if inspect.isclass(value) or inspect.isfunction(value)
        }
    return objects
