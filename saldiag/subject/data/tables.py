"""Arrays of an ``.npz`` and rows of a ``.csv`` as items."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from saldiag.core.errors import DataError
from saldiag.core.suggest import suggestion
from saldiag.core.wording import printable
from saldiag.subject.data.class_labels import as_labels
from saldiag.subject.data.items import Items, of_arrays
from saldiag.subject.models.input_spec import InputSpec

if TYPE_CHECKING:
    import pandas as pd

INPUTS = ("x", "X", "x_train", "X_train", "images", "inputs", "features")
TARGETS = ("y", "Y", "y_train", "Y_train", "labels", "masks", "targets", "label", "target")


def open_npz(path: Path, inputs: Sequence[str], target: str | None, takes: InputSpec) -> Items:
    """The arrays of an ``.npz`` that the model is trained on; nothing in it is ever unpickled.

    Args:
        path: the file.
        inputs: names of the inputs; empty for those that the model or custom names so.
        target: name of the target; None for the one that custom names so.
        takes: what the model takes.

    Raises:
        DataError: it is damaged, holds Python objects, or has no arrays of these names.
    """
    where = printable(path)
    try:
        with path.open("rb") as stream:
            arrays = _loaded(stream, where)
            names = _inputs_of(arrays.files, inputs, takes, where)
            wanted = _target_of(arrays.files, target, where)
            x = {name: arrays[name] for name in names}
            y = arrays[wanted]
    except (zipfile.BadZipFile, OSError, EOFError) as error:
        raise DataError(f"{where}: damaged, or no .npz file") from error
    except ValueError as error:
        if "pickle" in str(error):
            raise DataError(
                f"{where}: holds pickled Python objects, or is no .npz file: saldiag unpickles"
                " nothing; save plain arrays of numbers"
            ) from error
        raise DataError(f"{where}: damaged ({printable(str(error))})") from error
    return of_arrays((x if len(x) > 1 else x[names[0]], y), where)


def _loaded(stream: BinaryIO, where: str) -> Any:
    loaded = np.load(stream, allow_pickle=False)
    if isinstance(loaded, np.ndarray):
        raise DataError(f"{where}: one array without a name: save input and target by np.savez")
    return loaded


def _inputs_of(
    known: Sequence[str], inputs: Sequence[str], takes: InputSpec, where: str
) -> Sequence[str]:
    for name in inputs:
        refuse_unknown(name, known, "--inputs", where)
    if inputs:
        return inputs
    if len(takes.names) > 1 and set(takes.names) <= set(known):
        return takes.names
    found = [name for name in INPUTS if name in known]
    if not found:
        raise DataError(
            f"{where}: which array is the input? --inputs NAME says it; {_listed(known)}"
        )
    return found[:1]


def _target_of(known: Sequence[str], target: str | None, where: str) -> str:
    if target is not None:
        refuse_unknown(target, known, "--target", where)
        return target
    found = [name for name in TARGETS if name in known]
    if not found:
        raise DataError(
            f"{where}: which one is the target? --target NAME says it; {_listed(known)}"
        )
    return found[0]


def refuse_unknown(name: str, known: Sequence[str], option: str, where: str) -> None:
    """Refuse a name that is not there.

    Raises:
        DataError: ``known`` has no such name; the message suggests the nearest.
    """
    if name not in known:
        raise DataError(
            f"{where}: no {printable(name)} in it, which {option} asks for"
            f" ({printable(suggestion(name, known))})"
        )


def _listed(known: Sequence[str]) -> str:
    return f"it has {printable(', '.join(known)) or 'nothing'}"


def open_csv(path: Path, inputs: Sequence[str], target: str | None, takes: InputSpec) -> Items:
    """The rows of a table: numbers as float32 inputs (N, columns), one column as the target.

    A target of texts becomes class numbers in the order of the alphabet. A column of texts among
    the inputs is refused, for how to encode it is the program's decision. Gaps stay NaN.

    Args:
        path: the file, with a line of names at its top.
        inputs: names of the input columns; empty for those that the model names its inputs by, or
            all but the target.
        target: name of the target's column.
        takes: what the model takes.

    Raises:
        DataError: it is no table, has no rows or no such column, or an input is not of numbers.
    """
    where = printable(path)
    table = _read(path, where)
    columns = [str(name) for name in table.columns]
    if target is None:
        raise DataError(f"{where}: which column is the target? --target NAME; {_listed(columns)}")
    for name in (target, *inputs):
        refuse_unknown(name, columns, "--target" if name == target else "--inputs", where)
    by_model = len(takes.names) > 1 and set(takes.names) <= set(columns)
    others = takes.names if by_model else [name for name in columns if name != target]
    chosen = inputs or others
    numbers = {name: _numbers(table[name], where) for name in chosen}
    y, notes = _column_as_target(table[target], takes, where)
    return of_arrays((_as_input(numbers, takes, where), y), where, notes)


def _read(path: Path, where: str) -> pd.DataFrame:
    import pandas as pd

    try:
        separator = "\t" if path.suffix.lower() == ".tsv" else ","
        table = pd.read_csv(path, sep=separator, low_memory=False)
        if table.shape[1] == 1 and ";" in str(table.columns[0]):
            table = pd.read_csv(path, sep=";", low_memory=False)
    except pd.errors.EmptyDataError as error:
        raise DataError(f"{where}: empty file") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{where}: no text in UTF-8: save it as UTF-8") from error
    except (pd.errors.ParserError, ValueError) as error:
        raise DataError(f"{where}: no table ({printable(' '.join(str(error).split()))})") from error
    except OSError as error:
        raise DataError(f"{where}: cannot be read ({error.strerror})") from error
    if table.empty:
        raise DataError(f"{where}: no rows in it")
    return table


def _numbers(column: pd.Series[Any], where: str) -> np.ndarray[Any, Any]:
    import pandas as pd

    if pd.api.types.is_numeric_dtype(column):
        return column.to_numpy(np.float32, na_value=np.nan)
    bad = pd.to_numeric(column, errors="coerce").isna() & column.notna()
    row = int(bad.to_numpy().argmax())
    raise DataError(
        f"{where}: column {printable(str(column.name))} holds text ({printable(repr(column[row]))}"
        f" in row {row + 1}): choose columns with --inputs NAME,NAME, or encode it in a function of"
        " your own (--data FILE.py:FUNCTION)"
    )


def _column_as_target(
    column: pd.Series[Any], takes: InputSpec, where: str
) -> tuple[Any, tuple[str, ...]]:
    import pandas as pd

    if pd.api.types.is_numeric_dtype(column):
        values = column.to_numpy()
        return (values.astype(np.int64) if values.dtype == bool else values), ()
    if column.isna().any():
        row = int(column.isna().to_numpy().argmax()) + 1
        raise DataError(f"{where}: the target {printable(str(column.name))} is empty in row {row}")
    classes = sorted({str(value) for value in column})
    numbers = np.array([classes.index(str(value)) for value in column], np.int64)
    return as_labels(numbers, classes, takes, where)


def _as_input(numbers: dict[str, Any], takes: InputSpec, where: str) -> Any:
    if not numbers:
        raise DataError(f"{where}: no column is left for the input")
    if len(takes.names) > 1 and set(takes.names) <= set(numbers):
        return {name: numbers[name][:, None] for name in takes.names}
    return np.stack(list(numbers.values()), axis=1)
