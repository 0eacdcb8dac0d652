"""Pairs of image and mask in MSRA10K's layout: a folder, or a zip that is never unpacked.

MSRA10K (Cheng et al., TPAMI 2015) holds ``Imgs/STEM.jpg`` and ``Imgs/STEM.png``. The pairs may be
in ``Imgs/``, directly in the folder, or in either of these one level down, as in the archive. A
folder may also hold the images in ``images/`` and the masks in ``masks/``, as other data sets do.
"""

from __future__ import annotations

import hashlib
import os
import re
import zipfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from saldiag.core.errors import DataError
from saldiag.core.files.folders import two_folders
from saldiag.core.wording import printable
from saldiag.image_masks.decode import Array, read_pair
from saldiag.image_masks.storage import PAIRS_FOLDER, FileRef, Item, MemberRef, Ref, os_error_reason

IMAGE_SUFFIXES = (".jpg", ".jpeg")
MASK_SUFFIXES = (".png",)
"""Suffixes of images and of masks, in lower case."""
IMAGE_ALONE, MASK_ALONE = "image without a mask", "mask without an image"
"""Problems of files without their counterpart."""
_MASK_ENDING = re.compile(r"[-_.](mask|gt|label|labels|seg|segmentation)$", re.IGNORECASE)
"""Endings that many data sets add to the names of masks in a folder of their own."""
SAMPLE_NAME = "built-in sample"
"""Name of the generated data set."""
VALIDATION_SHARE = TEST_SHARE = 0.1
"""Shares of the items for validation and for testing, as in the paper."""


class NoPicturesError(DataError):
    """A folder or zip holds no image in the layout."""


@dataclass(frozen=True)
class Splits:
    """The three parts of a data set, without overlap; together they hold every item."""

    train: tuple[Item, ...]
    """Items to train on, about 80 %."""
    val: tuple[Item, ...]
    """Items to validate with, about 10 %."""
    test: tuple[Item, ...]
    """Items to test with, about 10 %."""


@dataclass(frozen=True)
class Unpaired:
    """A file without its counterpart, or a second one of the same stem."""

    stem: str
    """File name without suffix."""
    file: Ref
    """The file."""
    problem: str
    """What is wrong, in words."""


@dataclass(frozen=True)
class Listing:
    """All images and masks of a folder or zip."""

    name: str
    """Name of the folder or zip."""
    items: tuple[Item, ...]
    """Complete pairs, sorted by stem."""
    unpaired: tuple[Unpaired, ...]
    """All other files, sorted by stem."""


@dataclass(frozen=True)
class PairedDataset:
    """A data set in which every file has its counterpart."""

    name: str
    """Name of the folder or zip."""
    items: tuple[Item, ...]
    """The pairs, sorted by stem."""

    def __len__(self) -> int:
        return len(self.items)

    def split(self, seed: int) -> Splits:
        """Split 0.8/0.1/0.1, as in the paper, by a hash of seed and stem; see ``split_items``."""
        return split_items(self.items, seed)

    def read(self, item: Item) -> tuple[Array, Array]:
        """A pair at its own size: upright image uint8 (H, W, 3), mask uint8 (h, w) of 0 and 1.

        Raises:
            DataError: a file is missing or damaged; the message names it.
        """
        return read_pair(item)


def open_dataset(path: Path | None) -> PairedDataset:
    """Open a folder or a zip for training; None is the built-in sample.

    Raises:
        DataError: ``path`` does not exist, is neither a folder nor a zip, is damaged, holds no
            pairs, or holds a file without its counterpart.
    """
    if path is None:
        # Imported here: reading other data does not need the code that draws the sample.
        from saldiag.image_masks.sample import cached_sample

        return PairedDataset(SAMPLE_NAME, _require_pairs(list_pairs(cached_sample()), None))
    listing = list_pairs(path)
    return PairedDataset(listing.name, _require_pairs(listing, path))


def _require_pairs(listing: Listing, path: Path | None) -> tuple[Item, ...]:
    if listing.unpaired:
        first, count = listing.unpaired[0], len(listing.unpaired)
        more = f" and {count - 1} more like it" if count > 1 else ""
        where = printable(path or listing.name)
        raise DataError(f"{first.file}: {first.problem}{more}: see `saldiag data check {where}`")
    return listing.items


def list_pairs(path: Path) -> Listing:
    """List the pairs and other files of a folder or a zip, without decoding an image.

    Raises:
        DataError: ``path`` does not exist, is neither a folder nor a zip, is damaged or
            unreadable, or holds no image in the layout (``NoPicturesError``).
    """
    where = printable(path)
    try:
        if path.is_dir():
            apart = two_folders(path)
            return _pair_folders(path, *apart) if apart else _pair_files(path, _folder_files(path))
        if not path.exists():
            raise DataError(f"{where}: no such file or folder")
        return _pair_files(path, _zip_files(path))
    except OSError as error:
        raise DataError(f"{where}: cannot be read ({os_error_reason(error)})") from error


def _folder_files(root: Path) -> list[tuple[str, Ref]]:
    """The images and masks of the first place that has any: here, ``Imgs``, one level down."""
    entries = list(os.scandir(root))
    if not entries:
        raise NoPicturesError(
            f"{printable(root)}: empty folder, expected {PAIRS_FOLDER}/STEM.jpg and STEM.png"
        )
    below = sorted(entry.path for entry in entries if entry.is_dir() and _is_visible(entry.name))
    nearer = [_picture_files(root, entries), _scan_folder(root / PAIRS_FOLDER)]
    further = [
        files
        for folder in below
        for files in (_scan_folder(Path(folder)), _scan_folder(Path(folder, PAIRS_FOLDER)))
    ]
    return _only_place(root, nearer, further)


def _scan_folder(folder: Path) -> list[tuple[str, Ref]]:
    return _picture_files(folder, os.scandir(folder)) if folder.is_dir() else []


def _picture_files(folder: Path, entries: Iterable[os.DirEntry[str]]) -> list[tuple[str, Ref]]:
    return [(e.name, FileRef(folder / e.name)) for e in entries if _is_picture(e.name)]


def _zip_files(path: Path) -> list[tuple[str, Ref]]:
    places: dict[str, dict[str, Ref]] = {}
    try:
        with zipfile.ZipFile(path) as archive:
            for info in archive.infolist():
                name = PurePosixPath(info.filename)
                if _is_picture(name.name) and _is_visible(info.filename):
                    # Of two members with one name the later one counts, as when unpacking.
                    member = MemberRef.from_zip_info(path, info)
                    places.setdefault(str(name.parent), {})[name.name] = member
    except (zipfile.BadZipFile, ValueError, NotImplementedError, EOFError) as error:
        detail = printable(str(error))
        raise DataError(
            f"{printable(path)}: neither a folder nor a complete zip ({detail}): copy it again"
        ) from error
    found = {place: list(files.items()) for place, files in sorted(places.items())}
    nearer = [found.pop(place, []) for place in (".", PAIRS_FOLDER)]
    further = [files for place, files in found.items() if _one_level_down(place)]
    return _only_place(path, nearer, further)


def _one_level_down(place: str) -> bool:
    parts = PurePosixPath(place).parts
    return len(parts) == 1 or (len(parts) == 2 and parts[1] == PAIRS_FOLDER)


def _only_place(
    root: Path, nearer: list[list[tuple[str, Ref]]], further: list[list[tuple[str, Ref]]]
) -> list[tuple[str, Ref]]:
    """The files of the first nearer place that has any, or of the only further one."""
    for files in nearer:
        if files:
            return files
    filled = [files for files in further if files]
    if not filled:
        raise NoPicturesError(
            f"{printable(root)}: no pairs found, expected {PAIRS_FOLDER}/STEM.jpg and"
            f" {PAIRS_FOLDER}/STEM.png"
        )
    if len(filled) > 1:
        raise DataError(
            f"{printable(root)}: {len(filled)} folders with images in it: give one of them"
        )
    return filled[0]


def _is_picture(name: str) -> bool:
    return name.lower().endswith(IMAGE_SUFFIXES + MASK_SUFFIXES) and _is_visible(name)


def _is_visible(name: str) -> bool:
    return not name.startswith((".", "__MACOSX"))


def _pair_files(path: Path, files: list[tuple[str, Ref]]) -> Listing:
    images: dict[str, Ref] = {}
    masks: dict[str, Ref] = {}
    unpaired: list[Unpaired] = []
    for name, ref in sorted(files, key=lambda file: file[0]):
        stem, suffix = os.path.splitext(name)  # noqa: PTH122 - a name, not a path
        kind, half = ("image", images) if suffix.lower() in IMAGE_SUFFIXES else ("mask", masks)
        if stem in half:
            unpaired.append(Unpaired(_stem_text(stem), ref, f"a second {kind} of the same name"))
        else:
            half[stem] = ref
    return _match_stems(path, images, masks, unpaired)


def _match_stems(
    path: Path, images: dict[str, Ref], masks: dict[str, Ref], unpaired: list[Unpaired]
) -> Listing:
    both = sorted(images.keys() & masks.keys())
    unpaired += [Unpaired(_stem_text(s), images[s], IMAGE_ALONE) for s in images if s not in masks]
    unpaired += [Unpaired(_stem_text(s), masks[s], MASK_ALONE) for s in masks if s not in images]
    unpaired.sort(key=lambda one: (one.stem, one.problem))
    items = tuple(Item(_stem_text(stem), images[stem], masks[stem]) for stem in both)
    return Listing(printable(path.resolve().name or path), items, tuple(unpaired))


def _pair_folders(root: Path, image_folder: Path, mask_folder: Path) -> Listing:
    """Pairs with the images in one folder and the masks in another, both JPEG or PNG."""
    unpaired: list[Unpaired] = []
    images, masks = (
        _by_stem(folder, kind, unpaired)
        for folder, kind in ((image_folder, "image"), (mask_folder, "mask"))
    )
    if not images and not masks:
        raise NoPicturesError(
            f"{printable(root)}: no JPEG or PNG in {printable(image_folder.name)}/ and"
            f" {printable(mask_folder.name)}/"
        )
    return _match_stems(root, images, masks, unpaired)


def _by_stem(folder: Path, kind: str, unpaired: list[Unpaired]) -> dict[str, Ref]:
    found: dict[str, Ref] = {}
    for name, ref in sorted(_scan_folder(folder), key=lambda file: file[0]):
        stem = os.path.splitext(name)[0]  # noqa: PTH122 - a name, not a path
        if kind == "mask":
            stem = _MASK_ENDING.sub("", stem)
        if stem in found:
            unpaired.append(Unpaired(_stem_text(stem), ref, f"a second {kind} of the same name"))
        else:
            found[stem] = ref
    return found


def _stem_text(stem: str) -> str:
    """``stem`` as valid Unicode text, with undecodable bytes of the file name escaped."""
    return os.fsencode(stem).decode("utf-8", "backslashreplace")


def split_items(items: Sequence[Item], seed: int) -> Splits:
    """Split 0.8/0.1/0.1 in the order of a hash of seed and stem.

    The order of ``items`` has no influence. With two items one is for validation; with three or
    more each part gets at least one.
    """
    order = _shuffle_items(items, f"split:{seed}")
    val = _part_size(len(order), VALIDATION_SHARE, spare=1)
    test = _part_size(len(order), TEST_SHARE, spare=2)
    train = len(order) - val - test
    return Splits(order[:train], order[train : train + val], order[train + val :])


def _part_size(count: int, share: float, spare: int) -> int:
    return max(round(count * share), 1) if count > spare else 0


def take_subset(
    items: Sequence[Item], fraction: float, *, at_least: int = 1, seed: int = 0
) -> tuple[Item, ...]:
    """Take a fraction of the items.

    The same seed gives the same items, and a smaller subset is the start of a larger one.

    Args:
        items: the items to choose from.
        fraction: share to take, above 0 and at most 1.
        at_least: smallest number to take, if there are so many.
        seed: seed of the choice.

    Raises:
        DataError: ``fraction`` is out of range.
    """
    if not 0.0 < fraction <= 1.0:
        raise DataError(f"subset {fraction} is out of range: give a fraction above 0 and at most 1")
    order = _shuffle_items(items, f"subset:{seed}")
    return order[: max(round(fraction * len(order)), at_least, 1)]


def _shuffle_items(items: Sequence[Item], salt: str) -> tuple[Item, ...]:
    def hash_rank(item: Item) -> tuple[bytes, str]:
        return hashlib.sha256(f"{salt}:{item.stem}".encode()).digest(), item.stem

    return tuple(sorted(items, key=hash_rank))
