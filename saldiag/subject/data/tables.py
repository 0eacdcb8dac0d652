"""Reading the arrays of an ``.npz`` file and the rows of a ``.csv`` file as items."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from saldiag.core.errors import DataError
from saldiag.core.suggest import suggestion
from saldiag.core.wording import printable
from saldiag.subject.data.class_labels import labels_for_loss
from saldiag.subject.data.items import Items, items_from_arrays
from saldiag.subject.models.input_spec import InputSpec

if TYPE_CHECKING:
    import pandas as pd

# Names that identify an array as input or target if the user gives none, most likely first.
INPUT_NAMES = ("x", "X", "x_train", "X_train", "images", "inputs", "features")
TARGET_NAMES = ("y", "Y", "y_train", "Y_train", "labels", "masks", "targets", "label", "target")


def open_npz(path: Path, inputs: Sequence[str], target: str | None, spec: InputSpec) -> Items:
    """The input and target arrays of an ``.npz`` file; nothing is ever unpickled.

    Args:
        path: the file.
        inputs: names of the input arrays; empty to choose by the model's input names, then by
            ``INPUT_NAMES``.
        target: name of the target array; None to choose by ``TARGET_NAMES``.
        spec: the model's inputs.

    Raises:
        DataError: the file is damaged, contains Python objects, or has no arrays of these names.
    """
    where = printable(path)
    try:
        with path.open("rb") as stream:
            arrays = _load_archive(stream, where)
            names = _input_names(arrays.files, inputs, spec, where)
            target_name = _target_name(arrays.files, target, where)
            x = {name: arrays[name] for name in names}
            y = arrays[target_name]
    except (zipfile.BadZipFile, OSError, EOFError) as error:
        raise DataError(f"{where}: damaged, or not an .npz file") from error
    except ValueError as error:
        if "pickle" in str(error):
            raise DataError(
                f"{where}: contains pickled Python objects, which saldiag doesn't load, or is not"
                " an .npz file: save plain numeric arrays"
            ) from error
        raise DataError(f"{where}: damaged ({printable(str(error))})") from error
    return items_from_arrays((x if len(x) > 1 else x[names[0]], y), where)


def _load_archive(stream: BinaryIO, where: str) -> Any:
    loaded = np.load(stream, allow_pickle=False)
    if isinstance(loaded, np.ndarray):
        raise DataError(
            f"{where}: contains a single unnamed array: save inputs and targets with np.savez"
        )
    return loaded


def _input_names(
    known: Sequence[str], inputs: Sequence[str], spec: InputSpec, where: str
) -> Sequence[str]:
    for name in inputs:
        check_name_known(name, known, "--inputs", where)
    if inputs:
        return inputs
    if len(spec.input_names) > 1 and set(spec.input_names) <= set(known):
        return spec.input_names
    common = [name for name in INPUT_NAMES if name in known]
    if not common:
        raise DataError(
            f"{where}: the input array is not known: pass --inputs NAME ({_names_text(known)})"
        )
    return common[:1]


def _target_name(known: Sequence[str], target: str | None, where: str) -> str:
    if target is not None:
        check_name_known(target, known, "--target", where)
        return target
    common = [name for name in TARGET_NAMES if name in known]
    if not common:
        raise DataError(
            f"{where}: the target array is not known: pass --target NAME ({_names_text(known)})"
        )
    return common[0]


def check_name_known(name: str, known: Sequence[str], option: str, where: str) -> None:
    """Refuse a name, given by ``option``, that is not among ``known``.

    Raises:
        DataError: ``known`` has no such name; the message suggests the closest.
    """
    if name not in known:
        raise DataError(
            f"{where}: has no {printable(name)}, which {option} names"
            f" ({printable(suggestion(name, known))})"
        )


def _names_text(known: Sequence[str]) -> str:
    return f"it has {printable(', '.join(known)) or 'nothing'}"


def open_csv(path: Path, inputs: Sequence[str], target: str | None, spec: InputSpec) -> Items:
    """The rows of a table: float32 inputs of shape (N, columns), and one column as the target.

    A text target becomes class numbers in alphabetical order. Text among the inputs is refused,
    because its encoding is the program's decision. Missing values stay NaN.

    Args:
        path: the file; its first line has the column names.
        inputs: names of the input columns; empty to choose the model's input names, or all
            columns but the target.
        target: name of the target column.
        spec: the model's inputs, output and loss.

    Raises:
        DataError: the file is not a table, has no rows or no such column, or an input column is
            not numeric.
    """
    where = printable(path)
    table = _read_table(path, where)
    columns = [str(name) for name in table.columns]
    if target is None:
        raise DataError(
            f"{where}: the target column is not known: pass --target NAME ({_names_text(columns)})"
        )
    for name in (target, *inputs):
        check_name_known(name, columns, "--target" if name == target else "--inputs", where)
    named_as_inputs = len(spec.input_names) > 1 and set(spec.input_names) <= set(columns)
    default = spec.input_names if named_as_inputs else [name for name in columns if name != target]
    chosen = inputs or default
    numbers = {name: _numeric_column(table[name], where) for name in chosen}
    y, notes = _target_values(table[target], spec, where)
    return items_from_arrays((_stack_inputs(numbers, spec, where), y), where, notes)


def _read_table(path: Path, where: str) -> pd.DataFrame:
    import pandas as pd

    try:
        separator = "\t" if path.suffix.lower() == ".tsv" else ","
        table = pd.read_csv(path, sep=separator, low_memory=False)
        if table.shape[1] == 1 and ";" in str(table.columns[0]):
            table = pd.read_csv(path, sep=";", low_memory=False)
    except pd.errors.EmptyDataError as error:
        raise DataError(f"{where}: empty file") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{where}: not UTF-8 text: save it as UTF-8") from error
    except (pd.errors.ParserError, ValueError) as error:
        reason = printable(" ".join(str(error).split()))
        raise DataError(f"{where}: not a table ({reason})") from error
    except OSError as error:
        raise DataError(f"{where}: cannot be read ({error.strerror})") from error
    if table.empty:
        raise DataError(f"{where}: contains no rows")
    return table


def _numeric_column(column: pd.Series[Any], where: str) -> np.ndarray[Any, Any]:
    import pandas as pd

    if pd.api.types.is_numeric_dtype(column):
        return column.to_numpy(np.float32, na_value=np.nan)
    bad = pd.to_numeric(column, errors="coerce").isna() & column.notna()
    row = int(bad.to_numpy().argmax())
    raise DataError(
        f"{where}: column {printable(str(column.name))} contains text"
        f" ({printable(repr(column[row]))} in row {row + 1}): choose numeric columns with --inputs"
        " NAME,NAME, or encode it in a function (--data FILE.py:FUNCTION)"
    )


def _target_values(
    column: pd.Series[Any], spec: InputSpec, where: str
) -> tuple[Any, tuple[str, ...]]:
    import pandas as pd

    if pd.api.types.is_numeric_dtype(column):
        values = column.to_numpy()
        return (values.astype(np.int64) if values.dtype == bool else values), ()
    if column.isna().any():
        row = int(column.isna().to_numpy().argmax()) + 1
        raise DataError(f"{where}: target {printable(str(column.name))} is empty in row {row}")
    classes = sorted({str(value) for value in column})
    numbers = np.array([classes.index(str(value)) for value in column], np.int64)
    return labels_for_loss(numbers, classes, spec, where)


def _stack_inputs(numbers: dict[str, Any], spec: InputSpec, where: str) -> Any:
    if not numbers:
        raise DataError(f"{where}: no column is left as input")
    if len(spec.input_names) > 1 and set(spec.input_names) <= set(numbers):
        return {name: numbers[name][:, None] for name in spec.input_names}
    return np.stack(list(numbers.values()), axis=1)
