"""Reads arrays from weights files, without rebuilding any object that a file describes.

Only numbers are read, so a malicious ``.keras`` file cannot run code: stricter than Keras' safe
mode, which still rebuilds layers. Links to other files are not followed, and sizes are limited.
"""

from __future__ import annotations

import io
import math
import zipfile
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from saldiag.core.errors import WeightsError
from saldiag.core.measurement import Array

Layers = dict[str, list[Array]]
"""Arrays by layer path, in Keras' order (kernel, bias; gamma, beta, mean, variance)."""

MAX_ARRAY_BYTES = 64 << 20
MAX_FILE_BYTES = 512 << 20
"""Limits in bytes. QUICKSAL's largest array has 2 MB, its ``.keras`` file with Adam's state 46 MB.
"""

_KERAS_MEMBER = "model.weights.h5"
_DAMAGE_ERRORS = (
    ValueError, KeyError, TypeError, RuntimeError, EOFError, MemoryError, zipfile.BadZipFile
)  # fmt: skip


def read_layers(path: Path) -> Layers:
    """Read ``.weights.h5``, ``.keras``, Keras 2's ``.h5``, or an ``.npz`` with ``LAYER/NAME`` keys.

    The content decides on the format, not the file's name. Arrays of an ``.npz`` keep the order of
    the file.

    Raises:
        WeightsError: the file cannot be read, is damaged, or has another format.
    """
    try:
        layers = _read_file(path)
    except OSError as error:
        raise WeightsError(f"weights {path}: cannot be read ({_error_reason(error)})") from error
    except _DAMAGE_ERRORS as error:
        raise WeightsError(
            f"weights {path}: damaged ({_error_reason(error)}): download the file again"
        ) from error
    if not layers:
        raise WeightsError(f"weights {path}: holds no layers named by Keras")
    return layers


def _read_file(path: Path) -> Layers:
    if path.stat().st_size > MAX_FILE_BYTES:
        raise ValueError(f"larger than {MAX_FILE_BYTES >> 20} MiB, too large for QUICKSAL")
    content = path.read_bytes()
    if zipfile.is_zipfile(io.BytesIO(content)):
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            return _read_archive(archive, path)
    if content.startswith(b"\x89HDF"):
        with h5py.File(io.BytesIO(content), "r") as file:
            return _read_hdf5(file)
    raise WeightsError(
        f"weights {path}: neither HDF5 nor a complete zip archive"
        " (supported are .weights.h5, .keras and .npz files)"
    )


def _read_archive(archive: zipfile.ZipFile, path: Path) -> Layers:
    sizes = {info.filename: info.file_size for info in archive.infolist()}
    if sum(sizes.values()) > MAX_FILE_BYTES:
        raise ValueError(f"unpacks to over {MAX_FILE_BYTES >> 20} MiB, too large for QUICKSAL")
    if _KERAS_MEMBER in sizes:
        with h5py.File(io.BytesIO(archive.read(_KERAS_MEMBER)), "r") as file:
            return _read_hdf5(file)
    names = [name for name in sizes if name.endswith(".npy")]
    if not names:
        raise WeightsError(f"weights {path}: a zip archive with neither {_KERAS_MEMBER} nor arrays")
    layers: Layers = {}
    for name in names:
        with archive.open(name) as stream:
            array: Array = np.lib.format.read_array(stream)  # type: ignore[no-untyped-call]
        layers.setdefault(name.rpartition("/")[0], []).append(_check_numeric(name, array))
    return layers


def _read_hdf5(file: h5py.File) -> Layers:
    root = file.get("model_weights", file)
    return _read_keras2(root) if "layer_names" in root.attrs else _read_keras3(file)


def _read_keras2(root: h5py.Group) -> Layers:
    """Keras 2: attributes hold the names of the layers, and of each layer's arrays."""
    layers: Layers = {}
    for layer in _decode_names(root.attrs["layer_names"]):
        arrays = [
            _read_dataset(root[layer], name)
            for name in _decode_names(root[layer].attrs["weight_names"])
        ]
        if arrays:
            layers[layer] = arrays
    return layers


def _decode_names(names: Any) -> list[str]:
    return [name.decode() if isinstance(name, bytes) else str(name) for name in names]


def _read_keras3(file: h5py.File) -> Layers:
    """Keras 3: paths consist of class names; each object has a group ``vars`` with its own name."""
    names: dict[str, str] = {}
    stored: dict[str, dict[int, Array]] = {}

    def visit_item(place: str, item: Any) -> None:
        owner, _, last = place.rpartition("/")
        if isinstance(item, h5py.Group) and last == "vars":
            names[owner] = str(item.attrs.get("name", ""))
        elif isinstance(item, h5py.Dataset) and place.startswith("layers/"):
            index = stored.setdefault(owner.removesuffix("/vars"), {})
            index[int(last)] = _read_dataset(file, place)

    file.visititems(visit_item)  # each object once, and never across a soft or external link
    return {
        _layer_path(place, names): [arrays[index] for index in sorted(arrays)]
        for place, arrays in stored.items()
    }


def _layer_path(place: str, names: dict[str, str]) -> str:
    """The layer path of a place such as ``layers/functional/layers/conv2d_3``."""
    parts = place.split("/")
    above = ("/".join(parts[:count]) for count in range(1, len(parts) + 1))
    path = "/".join(names[name] for name in above if names.get(name))
    if not names.get(place):
        raise ValueError(f"{place} has no layer name, as in files of old Keras versions")
    return path


def _read_dataset(parent: h5py.Group, name: str) -> Array:
    link = parent.get(name, getlink=True)
    if not isinstance(link, h5py.HardLink):
        raise ValueError(f"{name} is a link to another file")  # noqa: TRY004 - counts as damage
    data = parent[name]
    if data.external or data.is_virtual:
        raise ValueError(f"{name} is stored in another file")
    if math.prod(data.shape) * data.dtype.itemsize > MAX_ARRAY_BYTES:
        raise ValueError(f"{name} has shape {data.shape}, too large for QUICKSAL")
    return _check_numeric(name, np.asarray(data))


def _check_numeric(name: str, array: Array) -> Array:
    if array.dtype.kind not in "fiu":
        raise ValueError(f"{name} holds {array.dtype} instead of numbers")
    return array


def _error_reason(error: BaseException) -> str:
    text = getattr(error, "strerror", None) or str(error)
    return " ".join(text.split()) or type(error).__name__
