"""Parsing ``--model`` and ``--data`` into specs, from their text and the files they name.

No user code is imported and no file is opened here, only file names are read: a typo is reported
before TensorFlow starts.
"""

from __future__ import annotations

import ast
import re
import zipfile
from dataclasses import dataclass
from pathlib import Path

from saldiag.core.errors import DataError, ModelError, SaldiagError
from saldiag.core.files.folders import DataKind, kind_of_folder
from saldiag.core.suggest import suggestion
from saldiag.core.wording import printable
from saldiag.subject.models.registered import (
    RegisteredModel,
    registered_model,
    registered_names,
)

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
class CodeReference:
    """``MODULE:ATTRIBUTE`` or ``FILE.py:ATTRIBUTE``."""

    option: str
    """The option it was given for, such as ``--model``, for messages."""
    place: str
    """Name of a module, or path of a file that ends in ``.py``."""
    attribute: str
    """Name in the module; may be dotted."""

    def __str__(self) -> str:
        return f"{self.option} {printable(self.place)}:{self.attribute}"

    @property
    def file(self) -> Path | None:
        """The file; None if ``place`` names a module."""
        return Path(self.place) if self.place.endswith(".py") else None


@dataclass(frozen=True)
class ModelSpec:
    """A parsed ``--model``: one of ``registered``, ``code`` and ``path`` is set."""

    text: str
    """What the user wrote."""
    registered: RegisteredModel | None = None
    """The model of that name; None for a model of the user's."""
    variant: tuple[str, ...] | None = None
    """Variant of the registered model; None for its default."""
    code: CodeReference | None = None
    """A function that returns the model, or the model itself."""
    path: Path | None = None
    """A saved model: a file of Keras', or a SavedModel folder."""


@dataclass(frozen=True)
class DataSpec:
    """A parsed ``--data``; the built-in sample has neither ``code`` nor ``path``."""

    kind: DataKind
    """How the data are stored."""
    code: CodeReference | None = None
    """A function that returns the data, or the data themselves."""
    path: Path | None = None
    """A file, or a folder of files."""

    @property
    def option(self) -> str:
        """The option as the user wrote it, for messages."""
        return str(self) if self.code else f"--data {self}"

    def __str__(self) -> str:
        return str(self.code) if self.code else printable(self.path or "the built-in sample")


def parse_model(text: str) -> ModelSpec:
    """Parse ``--model``.

    Raises:
        ModelError: there is no such model, file or folder, or no such variant.
    """
    name, colon, variant = text.partition(":")
    registered = registered_model(name)
    if registered is not None:
        chosen = registered.parse_variant(name, variant if colon else None)
        return ModelSpec(text, registered=registered, variant=chosen)
    path = Path(text)
    if path.is_dir():
        return ModelSpec(text, path=_model_folder(path))
    code = parse_code("--model", text, ModelError)
    if code is not None and not path.is_file():
        return ModelSpec(text, code=code)
    if path.suffix.lower() in MODEL_FILES:
        if not path.is_file():
            raise ModelError(f"--model {printable(text)}: no such file{_near(path)}")
        return ModelSpec(text, path=path)
    if path.exists():
        raise ModelError(f"--model {printable(text)}: not a model; give {TAKEN_MODELS}")
    known = suggestion(name, registered_names())
    raise ModelError(f"--model {printable(text)}: no such model ({known}), nor {TAKEN_MODELS}")


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


def parse_data(text: str | None) -> DataSpec:
    """Parse ``--data``; None is the built-in sample.

    Raises:
        DataError: there is no such file or folder, or it holds nothing that saldiag knows.
    """
    if text is None:
        return DataSpec("pairs")
    path = Path(text)
    if path.is_dir():
        return DataSpec(kind_of_folder(path), path=path)
    if not path.exists():
        code = parse_code("--data", text, DataError)
        if code is not None:
            return DataSpec("code", code=code)
        raise DataError(f"{printable(text)}: no such file or folder{_near(path)}")
    return DataSpec(_kind_of_file(path), path=path)


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


def parse_code(option: str, spec: str, error: type[SaldiagError]) -> CodeReference | None:
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
        return CodeReference(option, place, attribute)
    return CodeReference(option, place, attribute) if _DOTTED.fullmatch(place) else None


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
