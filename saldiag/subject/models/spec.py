"""What ``--model`` and ``--data`` say, told apart by their text and by what lies at the place.

Nothing is imported, run or read but the names of files, so that a slip of the pen is told at once.
"""

from __future__ import annotations

import ast
import re
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from saldiag.core.errors import DataError, ModelError, SaldiagError
from saldiag.core.files.folders import DataKind, kind_of_folder
from saldiag.core.printable import printable
from saldiag.core.suggest import suggestion

ModelKind = Literal["built-in", "code", "file"]
MODEL_FILES = (".keras", ".h5", ".hdf5")
TAKEN_MODELS = "MODULE:FUNCTION, FILE.py:FUNCTION, a .keras or .h5 file, a SavedModel folder"
TAKEN_DATA = "MODULE:FUNCTION, FILE.py:FUNCTION, .npz, .csv, .tsv, .tfrecord, a folder or a zip"
_DATA_FILES: dict[str, DataKind] = {
    ".npz": "npz",
    ".csv": "csv",
    ".tsv": "csv",
    ".tfrecord": "tfrecord",
    ".tfrecords": "tfrecord",
    ".tfrec": "tfrecord",
    ".zip": "pairs",
}
_DOTTED = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*")


@dataclass(frozen=True)
class CodeName:
    """``MODULE:ATTRIBUTE`` or ``FILE.py:ATTRIBUTE``; the attribute may be dotted."""

    option: str
    place: str
    attribute: str

    def __str__(self) -> str:
        return f"{self.option} {printable(self.place)}:{self.attribute}"

    @property
    def file(self) -> Path | None:
        """The file, or None where ``place`` is the name of a module."""
        return Path(self.place) if self.place.endswith(".py") else None


@dataclass(frozen=True)
class ModelName:
    """A parsed ``--model``.

    ``name`` is a built-in model's, with the faults that are switched on (None: those that it has
    anyway); else there is ``code`` to call, or the ``path`` of a saved model.
    """

    kind: ModelKind
    name: str = ""
    faults: tuple[str, ...] | None = None
    code: CodeName | None = None
    path: Path | None = None


@dataclass(frozen=True)
class DataName:
    """A parsed ``--data``; neither ``code`` nor ``path`` is the built-in sample."""

    kind: DataKind
    code: CodeName | None = None
    path: Path | None = None

    def __str__(self) -> str:
        return str(self.code) if self.code else printable(self.path or "the built-in sample")


def parse_model(spec: str, built_in: Sequence[str]) -> ModelName:
    """Read ``--model``.

    Args:
        spec: what the user wrote.
        built_in: names of the built-in models; the faults after a colon are theirs to judge.

    Raises:
        ModelError: there is no such model, file or folder.
    """
    head, colon, faults = spec.partition(":")
    if head in built_in:
        listed = tuple(fault.strip() for fault in faults.split(",") if fault.strip())
        return ModelName("built-in", head, listed if colon else None)
    path = Path(spec)
    if path.is_dir():
        return ModelName("file", path=_model_folder(path))
    code = parse_code("--model", spec, ModelError)
    if code is not None and not path.is_file():
        return ModelName("code", code=code)
    if path.suffix.lower() in MODEL_FILES:
        if not path.is_file():
            raise ModelError(f"--model {printable(spec)}: no such file{_near(path)}")
        return ModelName("file", path=path)
    if path.exists():
        raise ModelError(f"--model {printable(spec)}: no model: it takes {TAKEN_MODELS}")
    known = suggestion(head, built_in)
    raise ModelError(f"--model {printable(spec)}: no such model ({known}), nor {TAKEN_MODELS}")


def is_exported(path: Path) -> bool:
    """Whether it is a SavedModel folder."""
    return any((path / f"saved_model.{kind}").is_file() for kind in ("pb", "pbtxt"))


def _model_folder(path: Path) -> Path:
    where = f"--model {printable(path)}"
    if is_exported(path):
        return path
    if (path / "config.json").is_file() and path.suffix == ".keras":
        return path
    raise ModelError(f"{where}: a folder without a model in it; --model takes {TAKEN_MODELS}")


def parse_data(spec: str | None) -> DataName:
    """Read ``--data``; None is the built-in sample.

    Raises:
        DataError: there is no such file or folder, or it holds nothing that saldiag knows.
    """
    if spec is None:
        return DataName("pairs")
    path = Path(spec)
    if path.is_dir():
        return DataName(kind_of_folder(path), path=path)
    if not path.exists():
        code = parse_code("--data", spec, DataError)
        if code is not None:
            return DataName("code", code=code)
        raise DataError(f"{printable(spec)}: no such file or folder{_near(path)}")
    return DataName(_kind_of_file(path), path=path)


def _kind_of_file(path: Path) -> DataKind:
    for suffix in (path.suffix.lower(), Path(path.stem).suffix.lower()):
        # The second is that of name.tfrecord.gz and name.tfrecord-00000-of-00002.
        kind = _DATA_FILES.get(suffix.partition("-")[0])
        if kind is not None and (kind == "tfrecord" or suffix == path.suffix.lower()):
            return kind
    if path.suffix == ".py":
        raise DataError(f"{printable(path)}: say which function: {_functions(path, '--data')}")
    if zipfile.is_zipfile(path):
        return "pairs"
    raise DataError(f"{printable(path)}: no data that saldiag knows; --data takes {TAKEN_DATA}")


def parse_code(option: str, spec: str, error: type[SaldiagError]) -> CodeName | None:
    r"""Read ``MODULE:ATTRIBUTE`` or ``FILE.py:ATTRIBUTE``; None where it is neither.

    The last colon counts, so that ``C:\models\net.py:build`` names a function in a file.

    Raises:
        SaldiagError: of the type ``error``: there is no such file, or no attribute is named.
    """
    place, colon, attribute = spec.rpartition(":")
    if not colon or not _DOTTED.fullmatch(attribute):
        file = Path(spec)
        if file.suffix == ".py" and file.is_file():
            wanted = _functions(file, option)
            raise error(f"{option} {printable(spec)}: say which function: {wanted}")
        return None
    if place.endswith(".py"):
        file = Path(place)
        if not file.is_file():
            raise error(f"{option} {printable(spec)}: no such file{_near(file)}")
        return CodeName(option, place, attribute)
    return CodeName(option, place, attribute) if _DOTTED.fullmatch(place) else None


def _functions(file: Path, option: str) -> str:
    """How to name a function of ``file``, with those that it has at its top."""
    try:
        body = ast.parse(file.read_bytes()).body
    except (OSError, SyntaxError, ValueError):
        body = []
    kinds = (ast.FunctionDef, ast.ClassDef)
    names = [node.name for node in body if isinstance(node, kinds)]
    told = f" (it has {', '.join(names)})" if names else ""
    return f"{option} {printable(file)}:FUNCTION{told}"


def _near(path: Path) -> str:
    """A hint at a file of a similar name in the same folder."""
    try:
        names = [entry.name for entry in path.parent.iterdir()]
    except OSError:
        return ""
    told = suggestion(path.name, names)
    return f" ({printable(told)})" if told.startswith("did you mean") else ""
