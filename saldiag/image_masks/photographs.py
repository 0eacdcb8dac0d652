"""Images to predict masks for, with their ground truths where there are any."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path

from saldiag.core.errors import DataError
from saldiag.core.files.folders import two_folders
from saldiag.core.wording import printable
from saldiag.image_masks.msra10k import (
    IMAGE_ALONE,
    IMAGE_SUFFIXES,
    MASK_ALONE,
    MASK_SUFFIXES,
    Listing,
    NoPicturesError,
    list_pairs,
)
from saldiag.image_masks.storage import FileRef, Ref


@dataclass(frozen=True)
class Photograph:
    """An image to predict a mask for."""

    stem: str
    """File name without suffix, undecodable bytes escaped."""
    image: Ref
    """The image file."""
    truth: Ref | None
    """The ground truth mask; None if there is none."""


@dataclass(frozen=True)
class Photographs:
    """The images of a file, folder or zip."""

    name: str
    """Name of the file, folder or zip."""
    pictures: tuple[Photograph, ...]
    """The images, sorted by stem."""
    ignored: tuple[str, ...] = ()
    """Files that are left out, each with the reason."""
    folder: Path | None = None
    """The folder, into which nothing may be written; None for a single image or a zip."""


def list_photographs(path: Path) -> Photographs:
    """List a single image, a folder, or a zip in MSRA10K's layout, without decoding an image.

    A PNG file is the ground truth of the JPEG of the same stem. In a folder without any such pair,
    and without a folder of masks, PNG files are images as well.

    Raises:
        DataError: ``path`` does not exist, holds no image, or cannot be read.
    """
    if path.is_file() and path.suffix.lower() in IMAGE_SUFFIXES + MASK_SUFFIXES:
        stem = printable(path.stem)
        return Photographs(stem, (Photograph(stem, FileRef(path), None),))
    if path.is_file() and not zipfile.is_zipfile(path):
        raise DataError(f"{printable(path)}: neither a JPEG or PNG image nor a complete zip")
    try:
        listing = list_pairs(path)
    except NoPicturesError as error:
        raise DataError(f"{printable(path)}: holds no JPEG or PNG image") from error
    found = _select_photographs(
        listing, masks_apart=path.is_dir() and two_folders(path) is not None
    )
    if not found.pictures:
        raise DataError(f"{printable(path)}: holds only masks and no JPEG image")
    return Photographs(
        found.name, found.pictures, found.ignored, path if path.is_dir() else None
    )  # fmt: skip


def _select_photographs(listing: Listing, *, masks_apart: bool) -> Photographs:
    pictures = [Photograph(item.stem, item.image, item.mask) for item in listing.items]
    without_truth = {IMAGE_ALONE}
    if not pictures and not masks_apart:
        without_truth.add(MASK_ALONE)
    ignored = []
    for one in listing.unpaired:
        if one.problem in without_truth:
            pictures.append(Photograph(one.stem, one.file, None))
        else:
            ignored.append(f"{one.file}: {one.problem}")
    return Photographs(
        listing.name, tuple(sorted(pictures, key=lambda one: one.stem)), tuple(ignored)
    )
