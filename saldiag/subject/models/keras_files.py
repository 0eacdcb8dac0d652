"""Models from files that Keras wrote: ``.keras``, and the older HDF5."""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import h5py
import keras

from saldiag.core.errors import ModelError, WeightsError
from saldiag.core.wording import printable
from saldiag.keras_internals.optimizers import optimized_variables

_UNKNOWN = re.compile(
    r"(?:Could not locate|Unknown) (?:class|function|object|layer|loss|metric)?:? *'?\"?"
    r"([\w>.]+)"
)


def load_saved(
    path: Path,
    custom_objects: Mapping[str, Any],
    *,
    unsafe: bool = False,
    compiled: bool = True,
    option: str = "--model",
) -> Any:
    """Load a whole model in Keras' safe mode, compiled if it was.

    Args:
        path: a ``.keras`` file (or its folder), or an HDF5 file.
        custom_objects: classes and functions that the file names, by their names.
        unsafe: whether code in the file may run.
        compiled: whether how it was compiled matters; if not, it may be lost.
        option: what names the path on the command line.

    Raises:
        ModelError: it is damaged, holds weights alone, or needs code; the message says which.
    """
    where = f"{option} {printable(path)}"
    _refuse_damage(path, where, option)
    options = {"custom_objects": dict(custom_objects), "safe_mode": not unsafe}
    try:
        return _able_to_step(keras.saving.load_model(path, **options))
    except Exception as error:
        try:
            model = keras.saving.load_model(path, **options, compile=False)
            if compiled:
                _compile_by_names(model, path, custom_objects)
        except Exception as second:
            told = second if isinstance(second, _UnknownLossError) else error
            raise ModelError(f"{where}: {_explained(told)}") from error
        return model


def _able_to_step(model: Any) -> Any:
    """The model with a fresh optimizer where the file's cannot take a step.

    Keras 3 calls that of an HDF5 file built without its variables, and later refuses them.
    """
    optimizer = getattr(model, "optimizer", None)
    if optimizer is not None and optimizer.built and not optimized_variables(optimizer):
        model.optimizer = type(optimizer).from_config(optimizer.get_config())
    return model


class _UnknownLossError(TypeError):
    """A file's loss is neither Keras' nor among the custom objects."""


def _compile_by_names(model: Any, path: Path, custom_objects: Mapping[str, Any]) -> None:
    """Compile a model of an HDF5 file whose loss is no more than a name.

    Keras 3 writes such files, and takes the name for that of a metric when it reads them.

    Raises:
        Exception: it is no HDF5 file, or how it was compiled is told in another way.
    """
    with h5py.File(path, "r") as file:
        config = json.loads(file.attrs["training_config"])

    def known(name: str) -> Any:
        if name in custom_objects:
            return custom_objects[name]
        try:
            keras.losses.get(name)
        except ValueError as error:
            raise _UnknownLossError(f"Could not locate function '{name}'") from error
        return name

    model.compile(
        optimizer=keras.optimizers.deserialize(config["optimizer_config"]),
        loss=keras.tree.map_structure(known, config["loss"]),
    )


def _refuse_damage(path: Path, where: str, option: str) -> None:
    if path.suffix != path.suffix.lower():  # Keras looks for lower case alone
        wanted = printable(path.with_suffix(path.suffix.lower()).name)
        raise ModelError(f"{where}: Keras opens it only if it is called {wanted}")
    if path.is_dir():
        return
    if path.suffix == ".keras":
        if not zipfile.is_zipfile(path):
            raise ModelError(f"{where}: damaged, or no .keras file: it is no zip")
        return
    try:
        with h5py.File(path, "r") as file:
            whole = "model_config" in file.attrs
    except OSError as error:
        raise ModelError(f"{where}: damaged, or no HDF5 file") from error
    if not whole:
        loaded = f"--weights {printable(path)}" if option == "--model" else "that loads them"
        raise ModelError(
            f"{where}: weights alone, without the model they belong to: name the program that"
            f" builds it, {option} FILE.py:FUNCTION {loaded}"
        )


def _explained(error: Exception) -> str:
    text = " ".join(str(error).split())
    if "safe_mode" in text or "unsafe" in text.lower():
        return (
            "a Lambda layer in it holds Python code, which safe mode does not run: --unsafe-load"
            " allows it, if you trust the file"
        )
    unknown = _UNKNOWN.search(text)
    if unknown is not None:
        return (
            f"{printable(unknown[1])} is not Keras' own: --custom-objects MODULE or FILE.py says"
            " where it is defined"
        )
    return f"cannot be loaded ({type(error).__name__}: {printable(text[:300])})"


def load_weights(model: Any, path: Path, build: Callable[[], None]) -> None:
    """Load weights into a model of the user's.

    Args:
        model: it is built first where it is not.
        path: ``.weights.h5``, ``.keras`` or an older ``.h5``.
        build: builds the model.

    Raises:
        WeightsError: there is no such file, it is damaged, or belongs to another model.
    """
    where = f"--weights {printable(path)}"
    if not path.is_file():
        raise WeightsError(f"{where}: no such file")
    if path.suffix not in (".h5", ".hdf5", ".keras"):
        raise WeightsError(f"{where}: a model of your own takes .weights.h5, .keras or .h5")
    try:
        if not model.built:
            build()
        model.load_weights(path)
    except Exception as error:
        text = printable(" ".join(str(error).split())[:300])
        raise WeightsError(f"{where}: damaged, or of another model ({text})") from error
