"""Pictures to predict masks of, with their ground truths where there are any."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path

from saldiag.core.errors import DataError
from saldiag.core.files.folders import two_folders
from saldiag.core.wording import printable
from saldiag.image_masks.msra10k import (
    IMAGE_ALONE,
    IMAGES,
    MASK_ALONE,
    MASKS,
    Listing,
    NoPicturesError,
    list_pairs,
)
from saldiag.image_masks.storage import FileRef, Ref


@dataclass(frozen=True)
class Photograph:
    """A picture; ``truth`` is its ground truth, None where there is none.

    ``stem`` is the file name without suffix, undecodable bytes escaped.
    """

    stem: str
    image: Ref
    truth: Ref | None


@dataclass(frozen=True)
class Photographs:
    """The pictures at a place, sorted by stem; ``ignored`` says which files are left out and why.

    ``folder`` is where nothing may be written; None for a single picture or a zip.
    """

    name: str
    pictures: tuple[Photograph, ...]
    ignored: tuple[str, ...] = ()
    folder: Path | None = None


def list_photographs(path: Path) -> Photographs:
    """List a single picture, a folder, or a zip in MSRA10K's layout, without reading a picture.

    A PNG file is the ground truth of the JPEG of the same stem. In a folder without any such pair,
    and where there's no folder of masks, PNG files are pictures as well.

    Raises:
        DataError: nothing is there, it holds no picture, or it cannot be read.
    """
    if path.is_file() and path.suffix.lower() in IMAGES + MASKS:
        stem = printable(path.stem)
        return Photographs(stem, (Photograph(stem, FileRef(path), None),))
    if path.is_file() and not zipfile.is_zipfile(path):
        raise DataError(f"{printable(path)}: neither a JPEG or PNG picture, nor a whole zip")
    try:
        listing = list_pairs(path)
    except NoPicturesError as error:
        raise DataError(f"{printable(path)}: no JPEG or PNG picture in it") from error
    found = _photographs(listing, masks_apart=path.is_dir() and two_folders(path) is not None)
    if not found.pictures:
        raise DataError(f"{printable(path)}: only masks in it, no JPEG picture")
    return Photographs(
        found.name, found.pictures, found.ignored, path if path.is_dir() else None
    )  # fmt: skip


def _photographs(listing: Listing, *, masks_apart: bool) -> Photographs:
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
