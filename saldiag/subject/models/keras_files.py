"""Loading models from the files that Keras writes: ``.keras`` and the older HDF5 format."""

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

_UNKNOWN_NAME = re.compile(
    r"(?:Could not locate|Unknown) (?:class|function|object|layer|loss|metric)?:? *'?\"?"
    r"([\w>.]+)"
)
"""Keras' messages about a class or function that it cannot find; group 1 is its name."""


def load_keras_file(
    path: Path,
    custom_objects: Mapping[str, Any],
    *,
    unsafe: bool = False,
    compiled: bool = True,
    option: str = "--model",
) -> Any:
    """Load a whole model in Keras' safe mode, compiled if it was saved compiled.

    Args:
        path: a ``.keras`` file (or its folder), or an HDF5 file.
        custom_objects: classes and functions that the file refers to, by name.
        unsafe: whether code in the file may run.
        compiled: whether the compile arguments are needed; if not, an uncompiled model will do.
        option: the command-line option that names the path, for messages.

    Raises:
        ModelError: the file is damaged, contains only weights, or needs code that is not
            available or not allowed to run; the message says which.
    """
    where = f"{option} {printable(path)}"
    _check_file(path, where, option)
    options = {"custom_objects": dict(custom_objects), "safe_mode": not unsafe}
    try:
        return _with_usable_optimizer(keras.saving.load_model(path, **options))
    except Exception as error:
        try:
            model = keras.saving.load_model(path, **options, compile=False)
            if compiled:
                _compile_from_hdf5(model, path, custom_objects)
        except Exception as second:
            cause = second if isinstance(second, _UnknownLossError) else error
            raise ModelError(f"{where}: {_load_failure_reason(cause)}") from error
        return model


def _with_usable_optimizer(model: Any) -> Any:
    """The model, with a new optimizer if the loaded one cannot take a step.

    Keras 3 marks the optimizer of an HDF5 file as built before it knows the model's variables,
    and refuses these variables in the first training step.
    """
    optimizer = getattr(model, "optimizer", None)
    if optimizer is not None and optimizer.built and not optimized_variables(optimizer):
        model.optimizer = type(optimizer).from_config(optimizer.get_config())
    return model


class _UnknownLossError(TypeError):
    """The file's loss is neither part of Keras nor among the custom objects."""


def _compile_from_hdf5(model: Any, path: Path, custom_objects: Mapping[str, Any]) -> None:
    """Compile a model from an HDF5 file that stores its loss as a name.

    Keras 3 writes such files, but looks the name up among the metrics when it reads them.

    Raises:
        Exception: the file is not HDF5, or stores its compile arguments in another form.
    """
    with h5py.File(path, "r") as file:
        config = json.loads(file.attrs["training_config"])

    def resolve_loss(name: str) -> Any:
        if name in custom_objects:
            return custom_objects[name]
        try:
            keras.losses.get(name)
        except ValueError as error:
            raise _UnknownLossError(f"Could not locate function '{name}'") from error
        return name

    model.compile(
        optimizer=keras.optimizers.deserialize(config["optimizer_config"]),
        loss=keras.tree.map_structure(resolve_loss, config["loss"]),
    )


def _check_file(path: Path, where: str, option: str) -> None:
    if path.suffix != path.suffix.lower():  # Keras recognises only lower-case suffixes
        lower_case = printable(path.with_suffix(path.suffix.lower()).name)
        raise ModelError(f"{where}: Keras loads it only under the name {lower_case}")
    if path.is_dir():
        return
    if path.suffix == ".keras":
        if not zipfile.is_zipfile(path):
            raise ModelError(f"{where}: damaged, or not a .keras file (not a zip archive)")
        return
    try:
        with h5py.File(path, "r") as file:
            has_model = "model_config" in file.attrs
    except OSError as error:
        raise ModelError(f"{where}: damaged, or not an HDF5 file") from error
    if not has_model:
        how = (
            f"name the function that builds the model, --model FILE.py:FUNCTION --weights"
            f" {printable(path)}"
            if option == "--model"
            else f"name a function that builds the model and loads them, {option} FILE.py:FUNCTION"
        )
        raise ModelError(f"{where}: contains only weights: {how}")


def _load_failure_reason(error: Exception) -> str:
    text = " ".join(str(error).split())
    if "safe_mode" in text or "unsafe" in text.lower():
        return (
            "contains a Lambda layer with Python code, which safe mode doesn't run: pass"
            " --unsafe-load if you trust the file"
        )
    unknown = _UNKNOWN_NAME.search(text)
    if unknown is not None:
        return (
            f"uses {printable(unknown[1])}, which is not part of Keras: pass --custom-objects"
            " MODULE or FILE.py with its definition"
        )
    return f"cannot be loaded ({type(error).__name__}: {printable(text[:300])})"


def load_weights(model: Any, path: Path, build: Callable[[], None]) -> None:
    """Load weights into the user's model.

    Args:
        model: a Keras model.
        path: a ``.weights.h5``, ``.keras`` or older ``.h5`` file.
        build: creates the model's variables; called if the model is not built yet.

    Raises:
        WeightsError: the file does not exist, is damaged, or belongs to another model.
    """
    where = f"--weights {printable(path)}"
    if not path.is_file():
        raise WeightsError(f"{where}: no such file")
    if path.suffix not in (".h5", ".hdf5", ".keras"):
        raise WeightsError(f"{where}: expected a .weights.h5, .keras or .h5 file")
    try:
        if not model.built:
            build()
        model.load_weights(path)
    except Exception as error:
        text = printable(" ".join(str(error).split())[:300])
        raise WeightsError(f"{where}: damaged, or saved from another model ({text})") from error
