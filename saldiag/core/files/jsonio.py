"""Strict JSON and atomic files.

JSON proper has no NaN and no infinity, so both travel as the strings ``"NaN"``, ``"Infinity"`` and
``"-Infinity"``. Every file is written to a temporary name beside its target and renamed, so a
killed run leaves the last good file and never half a file.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
import os
import re
import tempfile
import types
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any, TypeVar, Union, get_args, get_origin, get_type_hints

import numpy as np

T = TypeVar("T")
Array = np.ndarray[Any, Any]

# DEL, the C1 controls (U+009B begins escape sequences), text direction, and line separators.
_ACTING = re.compile("[\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")
_SPECIAL = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


def jsonable(value: Any) -> Any:
    """Convert dataclasses, tuples, paths and numpy values to types of strict JSON."""
    if value is None or isinstance(value, (str, bool)):
        return value
    if isinstance(value, (np.generic, np.ndarray)):
        return jsonable(value.tolist())
    if isinstance(value, (int, float)):
        return _number(value)
    return _container(value)


def _container(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: jsonable(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): jsonable(item) for key, item in value.items()}
    if isinstance(value, (set, frozenset)):
        return [jsonable(item) for item in sorted(value)]
    if isinstance(value, (list, tuple)):
        return [jsonable(item) for item in value]
    return str(value)


def _number(value: float) -> float | str:
    if isinstance(value, int) or math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else ("Infinity" if value > 0 else "-Infinity")


def dumps(value: Any, indent: int | None = 2) -> str:
    """Strict JSON text of ``value``; keys keep their order: the same value, the same text.

    Text that UTF-8 cannot hold (a file name with undecodable bytes) is escaped, and so are control
    characters and marks of text direction, which would act on a terminal that shows the text.
    """
    plain = jsonable(value)
    text = json.dumps(plain, indent=indent, allow_nan=False, ensure_ascii=False)
    text = _ACTING.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
    try:
        text.encode()
    except UnicodeEncodeError:
        return json.dumps(plain, indent=indent, allow_nan=False)
    return text


def restore(kind: Any, value: Any) -> Any:
    """Rebuild a value of type ``kind`` (a dataclass, tuple, dict, …) from JSON.

    Raises:
        ValueError: the JSON does not fit the type; the message names the field.
    """
    if kind is float:
        return _SPECIAL[value] if isinstance(value, str) else float(value)
    if isinstance(kind, type) and dataclasses.is_dataclass(kind):
        return _restore_dataclass(kind, value)
    origin = get_origin(kind) or kind
    restorer = _RESTORERS.get(origin)
    return restorer(get_args(kind), value) if restorer else value


def _restore_union(kinds: tuple[Any, ...], value: Any) -> Any:
    concrete = [kind for kind in kinds if kind is not type(None)]
    if value is None or len(concrete) != 1:
        return value
    return restore(concrete[0], value)


def _restore_tuple(kinds: tuple[Any, ...], value: Any) -> tuple[Any, ...]:
    if len(kinds) == 2 and kinds[1] is Ellipsis:
        return tuple(restore(kinds[0], item) for item in value)
    return tuple(restore(kind, item) for kind, item in zip(kinds, value, strict=True))


def _restore_mapping(kinds: tuple[Any, ...], value: Any) -> dict[str, Any]:
    return {key: restore(kinds[1], item) for key, item in value.items()}


_RESTORERS: dict[Any, Callable[[tuple[Any, ...], Any], Any]] = {
    Union: _restore_union,
    types.UnionType: _restore_union,
    tuple: _restore_tuple,
    dict: _restore_mapping,
    np.ndarray: lambda _, value: np.asarray(value),
}


def _restore_dataclass(kind: type[T], value: Any) -> T:
    hints = get_type_hints(kind)
    fields = {f.name: f for f in dataclasses.fields(kind)}  # type: ignore[arg-type]
    unknown = set(value) - set(fields)
    if unknown:
        raise ValueError(f"{kind.__name__} has no field {min(unknown)!r}")
    try:
        return kind(**{name: restore(hints[name], item) for name, item in value.items()})
    except (TypeError, KeyError) as error:
        raise ValueError(f"{kind.__name__}: {error}") from error


@contextlib.contextmanager
def atomic_file(path: Path, mode: str = "w") -> Iterator[IO[Any]]:
    """Open a temporary file beside ``path``; rename it on success, else remove it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    encoding = None if "b" in mode else "utf-8"
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
    temporary = Path(name)
    try:
        with os.fdopen(handle, mode, encoding=encoding) as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def write_text(path: Path, text: str) -> None:
    """Write ``text`` to ``path`` completely or not at all."""
    with atomic_file(path) as stream:
        stream.write(text)


def write_json(path: Path, value: Any) -> None:
    """Write ``value`` to ``path`` as strict JSON, completely or not at all."""
    write_text(path, dumps(value) + "\n")


def read_json(path: Path) -> Any:
    """Read strict JSON from ``path``.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is not strict JSON.
    """

    def refuse(name: str) -> Any:
        raise ValueError(f"{path}: {name} is not strict JSON")

    parse: Callable[[str], Any] = refuse
    return json.loads(path.read_text(encoding="utf-8"), parse_constant=parse)
