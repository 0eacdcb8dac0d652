"""Parsing ``--model`` and ``--data`` into specs, from their text and the files they name.

No user code is imported and no data file is opened here: a typo is reported before TensorFlow
starts.
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
"""Suffixes of the files that contain a whole model."""
ACCEPTED_MODELS = "MODULE:FUNCTION, FILE.py:FUNCTION, a .keras or .h5 file, a SavedModel folder"
ACCEPTED_DATA = "MODULE:FUNCTION, FILE.py:FUNCTION, .npz, .csv, .tsv, .tfrecord, a folder or a zip"
_KIND_BY_SUFFIX: dict[str, DataKind] = {
    ".npz": "npz",
    ".csv": "csv",
    ".tsv": "csv",
    ".tfrecord": "tfrecord",
    ".tfrecords": "tfrecord",
    ".tfrec": "tfrecord",
    ".zip": "pairs",
}
_DOTTED_NAME = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*")


@dataclass(frozen=True)
class CodeReference:
    """``MODULE:ATTRIBUTE`` or ``FILE.py:ATTRIBUTE``."""

    option: str
    """The option it was given for, such as ``--model``, for messages."""
    location: str
    """Name of a module, or path of a file that ends in ``.py``."""
    attribute: str
    """Name in the module; may be dotted."""

    def __str__(self) -> str:
        return f"{self.option} {printable(self.location)}:{self.attribute}"

    @property
    def file(self) -> Path | None:
        """The file; None if ``location`` names a module."""
        return Path(self.location) if self.location.endswith(".py") else None


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
    """A saved model: a file that Keras wrote, or a SavedModel folder."""


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


def parse_model_spec(text: str) -> ModelSpec:
    """Parse the value of ``--model``.

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
    code = parse_code_reference("--model", text, ModelError)
    if code is not None and not path.is_file():
        return ModelSpec(text, code=code)
    if path.suffix.lower() in MODEL_FILES:
        if not path.is_file():
            raise ModelError(f"--model {printable(text)}: no such file{_similar_file_hint(path)}")
        return ModelSpec(text, path=path)
    if path.exists():
        raise ModelError(
            f"--model {printable(text)}: not a model; --model accepts {ACCEPTED_MODELS}"
        )
    hint = suggestion(name, registered_names())
    raise ModelError(
        f"--model {printable(text)}: no such model ({hint}); --model also accepts {ACCEPTED_MODELS}"
    )


def is_saved_model(path: Path) -> bool:
    """Whether ``path`` is a SavedModel folder."""
    return any((path / f"saved_model.{kind}").is_file() for kind in ("pb", "pbtxt"))


def _model_folder(path: Path) -> Path:
    where = f"--model {printable(path)}"
    if is_saved_model(path):
        return path
    if (path / "config.json").is_file() and path.suffix == ".keras":
        return path
    raise ModelError(f"{where}: a folder that contains no model; --model accepts {ACCEPTED_MODELS}")


def parse_data_spec(text: str | None) -> DataSpec:
    """Parse the value of ``--data``; None selects the built-in sample.

    Raises:
        DataError: there is no such file or folder, or its format is not known.
    """
    if text is None:
        return DataSpec("pairs")
    path = Path(text)
    if path.is_dir():
        return DataSpec(kind_of_folder(path), path=path)
    if not path.exists():
        code = parse_code_reference("--data", text, DataError)
        if code is not None:
            return DataSpec("code", code=code)
        raise DataError(f"{printable(text)}: no such file or folder{_similar_file_hint(path)}")
    return DataSpec(_kind_of_file(path), path=path)


def _kind_of_file(path: Path) -> DataKind:
    for suffix in (path.suffix.lower(), Path(path.stem).suffix.lower()):
        # The second covers name.tfrecord.gz and name.tfrecord-00000-of-00002.
        kind = _KIND_BY_SUFFIX.get(suffix.partition("-")[0])
        if kind is not None and (kind == "tfrecord" or suffix == path.suffix.lower()):
            return kind
    if path.suffix == ".py":
        raise DataError(f"{printable(path)}: name a function: {_function_syntax(path, '--data')}")
    if zipfile.is_zipfile(path):
        return "pairs"
    raise DataError(f"{printable(path)}: not a known data format; --data accepts {ACCEPTED_DATA}")


def parse_code_reference(option: str, text: str, error: type[SaldiagError]) -> CodeReference | None:
    r"""Parse ``MODULE:ATTRIBUTE`` or ``FILE.py:ATTRIBUTE``; None if ``text`` is neither.

    Text is split at the last colon: ``C:\models\net.py:build`` names a function in a file.

    Args:
        option: the command-line option, for messages.
        text: what the user wrote.
        error: type of the error to raise.

    Raises:
        SaldiagError: of type ``error``: there is no such file, or no attribute is named.
    """
    location, colon, attribute = text.rpartition(":")
    if not colon or not _DOTTED_NAME.fullmatch(attribute):
        file = Path(text)
        if file.suffix == ".py" and file.is_file():
            syntax = _function_syntax(file, option)
            raise error(f"{option} {printable(text)}: name a function: {syntax}")
        return None
    if location.endswith(".py"):
        file = Path(location)
        if not file.is_file():
            raise error(f"{option} {printable(text)}: no such file{_similar_file_hint(file)}")
        return CodeReference(option, location, attribute)
    return CodeReference(option, location, attribute) if _DOTTED_NAME.fullmatch(location) else None


def _function_syntax(file: Path, option: str) -> str:
    """The syntax for a function of ``file``, with the names that the file defines."""
    try:
        body = ast.parse(file.read_bytes()).body
    except (OSError, SyntaxError, ValueError):
        body = []
    kinds = (ast.FunctionDef, ast.ClassDef)
    names = [node.name for node in body if isinstance(node, kinds)]
    defined = f" (it defines {', '.join(names)})" if names else ""
    return f"{option} {printable(file)}:FUNCTION{defined}"


def _similar_file_hint(path: Path) -> str:
    """A hint at a file with a similar name in the same folder; empty if there is none."""
    try:
        names = [entry.name for entry in path.parent.iterdir()]
    except OSError:
        return ""
    hint = suggestion(path.name, names)
    return f" ({printable(hint)})" if hint.startswith("did you mean") else ""
