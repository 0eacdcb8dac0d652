"""What kind of data set lies in a folder, told by the names of its files alone."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from saldiag.core.errors import DataError
from saldiag.core.wording import printable

DataKind = Literal["pairs", "classes", "npz", "csv", "tfrecord", "code"]

PICTURES = (".jpg", ".jpeg", ".png", ".bmp", ".gif")
"""What ``keras.utils.image_dataset_from_directory`` reads."""
IMAGE_FOLDERS = ("images", "image", "imgs", "img", "jpegimages", "x")
MASK_FOLDERS = ("masks", "mask", "labels", "gt", "annotations", "segmentationclass", "y")
_KNOWN = (
    "a folder of pictures for each class, images/ beside masks/ with files of the same names,"
    " STEM.jpg beside STEM.png, or .tfrecord files"
)
_LOOKED_AT = 10_000
"""Entries of a folder that are looked at to tell what it is."""


def kind_of_folder(root: Path) -> DataKind:
    """``classes``, ``pairs`` or ``tfrecord``.

    Raises:
        DataError: it cannot be read, is empty, or holds nothing that saldiag knows.
    """
    try:
        names = list(_names(root))
        below = {folder.name: list(_names(folder)) for folder in folders(root)}
    except OSError as error:
        raise DataError(f"{printable(root)}: cannot be read ({error.strerror})") from error
    if not names:
        raise DataError(f"{printable(root)}: empty folder; expected {_KNOWN}")
    if any(is_tfrecord(name) for name in names):
        return "tfrecord"
    if two_folders(root) or any(_is_picture(name) for name in names):
        return "pairs"
    filled = {name: files for name, files in below.items() if any(map(_is_picture, files))}
    if not filled:
        return _without_pictures(root, below)
    return "pairs" if len(filled) == 1 or "Imgs" in filled else "classes"


def _without_pictures(root: Path, below: dict[str, list[str]]) -> DataKind:
    if any("Imgs" in names for names in below.values()):
        return "pairs"  # MSRA10K's archive, unpacked
    raise DataError(f"{printable(root)}: no pictures in it; expected {_KNOWN}")


def two_folders(root: Path) -> tuple[Path, Path] | None:
    """The folders of the images and of the masks below ``root``, if there are both.

    Raises:
        OSError: the folder cannot be read.
    """
    named = {folder.name.lower(): folder for folder in folders(root)}
    images = [named[name] for name in IMAGE_FOLDERS if name in named]
    masks = [named[name] for name in MASK_FOLDERS if name in named]
    return (images[0], masks[0]) if images and masks else None


def folders(root: Path) -> list[Path]:
    """The visible folders in ``root``, sorted.

    Raises:
        OSError: the folder cannot be read.
    """
    with os.scandir(root) as entries:
        found = [Path(e.path) for e in entries if e.is_dir() and not e.name.startswith(".")]
    return sorted(path for path in found if path.name != "__MACOSX")


def is_tfrecord(name: str) -> bool:
    """Whether a file's name is that of a TFRecord, or of a part of one (-00000-of-00002)."""
    return any(
        part.partition("-")[0].lower() in {"tfrecord", "tfrecords", "tfrec"}
        for part in name.split(".")[1:]
    )


def _is_picture(name: str) -> bool:
    return name.lower().endswith(PICTURES)


def _names(folder: Path) -> Iterator[str]:
    with os.scandir(folder) as entries:
        for _, entry in zip(range(_LOOKED_AT), entries, strict=False):
            if not entry.name.startswith("."):
                yield entry.name
