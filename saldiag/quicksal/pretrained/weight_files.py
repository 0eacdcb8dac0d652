"""Arrays out of weights files, without rebuilding any object that a file describes.

Only numbers are read, so a hostile ``.keras`` file finds no code to run: stricter than Keras' safe
mode, which still rebuilds layers. Links to other files are not followed and sizes are bounded.
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

LARGEST_ARRAY = 64 << 20
LARGEST_FILE = 512 << 20
"""Bytes. The largest array of QUICKSAL has 2 MB, its ``.keras`` file with Adam's state 46 MB."""

_IN_KERAS = "model.weights.h5"
_DAMAGE = (
    ValueError, KeyError, TypeError, RuntimeError, EOFError, MemoryError, zipfile.BadZipFile
)  # fmt: skip


def read_layers(path: Path) -> Layers:
    """Read ``.weights.h5``, ``.keras``, Keras 2's ``.h5``, or an ``.npz`` with ``LAYER/NAME`` keys.

    The format is told by the content, not by the file's name. Arrays of an ``.npz`` are in the
    order of the file.

    Raises:
        WeightsError: the file cannot be read, is damaged or none of these.
    """
    try:
        layers = _read(path)
    except OSError as error:
        raise WeightsError(f"weights {path}: cannot be read ({_reason(error)})") from error
    except _DAMAGE as error:
        raise WeightsError(
            f"weights {path}: damaged ({_reason(error)}): get the file again"
        ) from error
    if not layers:
        raise WeightsError(f"weights {path}: holds no layers that Keras has named")
    return layers


def _read(path: Path) -> Layers:
    if path.stat().st_size > LARGEST_FILE:
        raise ValueError(f"over {LARGEST_FILE >> 20} MiB, which no QUICKSAL needs")
    content = path.read_bytes()
    if zipfile.is_zipfile(io.BytesIO(content)):
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            return _archive(archive, path)
    if content.startswith(b"\x89HDF"):
        with h5py.File(io.BytesIO(content), "r") as file:
            return _hdf5(file)
    raise WeightsError(
        f"weights {path}: neither HDF5 nor a whole zip archive"
        " (weights are read from .weights.h5, .keras and .npz files)"
    )


def _archive(archive: zipfile.ZipFile, path: Path) -> Layers:
    sizes = {info.filename: info.file_size for info in archive.infolist()}
    if sum(sizes.values()) > LARGEST_FILE:
        raise ValueError(f"unpacks to over {LARGEST_FILE >> 20} MiB, which no QUICKSAL needs")
    if _IN_KERAS in sizes:
        with h5py.File(io.BytesIO(archive.read(_IN_KERAS)), "r") as file:
            return _hdf5(file)
    names = [name for name in sizes if name.endswith(".npy")]
    if not names:
        raise WeightsError(f"weights {path}: a zip archive with neither {_IN_KERAS} nor arrays")
    layers: Layers = {}
    for name in names:
        with archive.open(name) as stream:
            array: Array = np.lib.format.read_array(stream)  # type: ignore[no-untyped-call]
        layers.setdefault(name.rpartition("/")[0], []).append(_number(name, array))
    return layers


def _hdf5(file: h5py.File) -> Layers:
    root = file.get("model_weights", file)
    return _legacy(root) if "layer_names" in root.attrs else _keras3(file)


def _legacy(root: h5py.Group) -> Layers:
    """Keras 2: the layers' names are an attribute, and so are the names of each one's arrays."""
    layers: Layers = {}
    for layer in _texts(root.attrs["layer_names"]):
        arrays = [_dataset(root[layer], name) for name in _texts(root[layer].attrs["weight_names"])]
        if arrays:
            layers[layer] = arrays
    return layers


def _texts(names: Any) -> list[str]:
    return [name.decode() if isinstance(name, bytes) else str(name) for name in names]


def _keras3(file: h5py.File) -> Layers:
    """Keras 3: every object has a group ``vars`` with its name; the path is made of classes."""
    names: dict[str, str] = {}
    stored: dict[str, dict[int, Array]] = {}

    def visit(place: str, item: Any) -> None:
        owner, _, last = place.rpartition("/")
        if isinstance(item, h5py.Group) and last == "vars":
            names[owner] = str(item.attrs.get("name", ""))
        elif isinstance(item, h5py.Dataset) and place.startswith("layers/"):
            index = stored.setdefault(owner.removesuffix("/vars"), {})
            index[int(last)] = _dataset(file, place)

    file.visititems(visit)  # each object once, and never across a soft or external link
    return {
        _named(place, names): [arrays[index] for index in sorted(arrays)]
        for place, arrays in stored.items()
    }


def _named(place: str, names: dict[str, str]) -> str:
    """The layer path of a place such as ``layers/functional/layers/conv2d_3``."""
    parts = place.split("/")
    above = ("/".join(parts[:count]) for count in range(1, len(parts) + 1))
    path = "/".join(names[name] for name in above if names.get(name))
    if not names.get(place):
        raise ValueError(f"{place} has no layer name, as old versions of Keras wrote it")
    return path


def _dataset(parent: h5py.Group, name: str) -> Array:
    link = parent.get(name, getlink=True)
    if not isinstance(link, h5py.HardLink):
        raise ValueError(f"{name} is a link out of the file")  # noqa: TRY004 - what is damaged
    data = parent[name]
    if data.external or data.is_virtual:
        raise ValueError(f"{name} lies in another file")
    if math.prod(data.shape) * data.dtype.itemsize > LARGEST_ARRAY:
        raise ValueError(f"{name} has shape {data.shape}, which no QUICKSAL needs")
    return _number(name, np.asarray(data))


def _number(name: str, array: Array) -> Array:
    if array.dtype.kind not in "fiu":
        raise ValueError(f"{name} holds {array.dtype} instead of numbers")
    return array


def _reason(error: BaseException) -> str:
    text = getattr(error, "strerror", None) or str(error)
    return " ".join(text.split()) or type(error).__name__
