"""Pairs of image and mask in MSRA10K's layout: a folder, or a zip that is never unpacked.

MSRA10K (Cheng et al., TPAMI 2015) holds ``Imgs/STEM.jpg`` and ``Imgs/STEM.png``. The pairs may lie
in ``Imgs/``, directly in the folder, or either of these one level down, as in the archive. A folder
may also have the images in ``images/`` and the masks in ``masks/``, as most other data sets do.
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
from saldiag.image_masks.storage import FOLDER, FileRef, Item, MemberRef, Ref, reason

IMAGES = (".jpg", ".jpeg")
MASKS = (".png",)
IMAGE_ALONE, MASK_ALONE = "image without a mask", "mask without an image"
_MASK_ENDING = re.compile(r"[-_.](mask|gt|label|labels|seg|segmentation)$", re.IGNORECASE)
"""What many data sets add to the name of a mask, in a folder of masks."""
SAMPLE_NAME = "built-in sample"
VALIDATION_SHARE = TEST_SHARE = 0.1


class NoPicturesError(DataError):
    """A folder or a zip holds no picture in the layout."""


@dataclass(frozen=True)
class Splits:
    """The three parts of a data set; together they are all of it, and no item is in two."""

    train: tuple[Item, ...]
    val: tuple[Item, ...]
    test: tuple[Item, ...]


@dataclass(frozen=True)
class Unpaired:
    """A file without its other half, or a second one of the same stem."""

    stem: str
    file: Ref
    problem: str


@dataclass(frozen=True)
class Listing:
    """What lies at a place, pairs and all: ``items`` and ``unpaired`` sorted by stem."""

    name: str
    items: tuple[Item, ...]
    unpaired: tuple[Unpaired, ...]


@dataclass(frozen=True)
class PairedDataset:
    """Pairs sorted by stem."""

    name: str
    items: tuple[Item, ...]

    def __len__(self) -> int:
        return len(self.items)

    def split(self, seed: int) -> Splits:
        """Split 0.8/0.1/0.1, as in the paper, by a hash of seed and stem; see ``split``."""
        return split(self.items, seed)

    def read(self, item: Item) -> tuple[Array, Array]:
        """A pair at its own size: image uint8 (H, W, 3), upright, and mask uint8 (h, w) of 0, 1.

        Raises:
            DataError: a file is missing or damaged; the message names it.
        """
        return read_pair(item)


def open_dataset(path: Path | None) -> PairedDataset:
    """Open a folder or a zip for training; ``None`` is the built-in sample.

    Raises:
        DataError: nothing is there, it is neither folder nor zip, it is damaged, it holds no
            pairs, or a file lacks its other half.
    """
    if path is None:
        # Drawing the sample is not needed to read other data.
        from saldiag.image_masks.sample import cached_sample

        return PairedDataset(SAMPLE_NAME, _whole(list_pairs(cached_sample()), None))
    listing = list_pairs(path)
    return PairedDataset(listing.name, _whole(listing, path))


def _whole(listing: Listing, path: Path | None) -> tuple[Item, ...]:
    if listing.unpaired:
        first, count = listing.unpaired[0], len(listing.unpaired)
        more = f" and {count - 1} more like it" if count > 1 else ""
        where = printable(path or listing.name)
        raise DataError(f"{first.file}: {first.problem}{more}: see `saldiag data check {where}`")
    return listing.items


def list_pairs(path: Path) -> Listing:
    """List what lies in a folder or a zip, without reading a picture.

    Raises:
        DataError: nothing is there, it is neither folder nor zip, it is damaged or unreadable, or
            it holds no picture in the layout.
    """
    where = printable(path)
    try:
        if path.is_dir():
            apart = two_folders(path)
            return _apart(path, *apart) if apart else _paired(path, _folder_files(path))
        if not path.exists():
            raise DataError(f"{where}: no such file or folder")
        return _paired(path, _zip_files(path))
    except OSError as error:
        raise DataError(f"{where}: cannot be read ({reason(error)})") from error


def _folder_files(root: Path) -> list[tuple[str, Ref]]:
    """The pictures of the first place that holds any: here, in ``Imgs``, or one level down."""
    entries = list(os.scandir(root))
    if not entries:
        raise NoPicturesError(
            f"{printable(root)}: empty folder, expected {FOLDER}/STEM.jpg and STEM.png"
        )
    below = sorted(entry.path for entry in entries if entry.is_dir() and _visible(entry.name))
    nearer = [_pictures(root, entries), _scan(root / FOLDER)]
    further = [
        files for folder in below for files in (_scan(Path(folder)), _scan(Path(folder, FOLDER)))
    ]
    return _only_place(root, nearer, further)


def _scan(folder: Path) -> list[tuple[str, Ref]]:
    return _pictures(folder, os.scandir(folder)) if folder.is_dir() else []


def _pictures(folder: Path, entries: Iterable[os.DirEntry[str]]) -> list[tuple[str, Ref]]:
    return [(e.name, FileRef(folder / e.name)) for e in entries if _is_picture(e.name)]


def _zip_files(path: Path) -> list[tuple[str, Ref]]:
    places: dict[str, dict[str, Ref]] = {}
    try:
        with zipfile.ZipFile(path) as archive:
            for info in archive.infolist():
                name = PurePosixPath(info.filename)
                if _is_picture(name.name) and _visible(info.filename):
                    # Of two members of one name the later counts, as in every unzip.
                    member = MemberRef.of(path, info)
                    places.setdefault(str(name.parent), {})[name.name] = member
    except (zipfile.BadZipFile, ValueError, NotImplementedError, EOFError) as error:
        detail = printable(str(error))
        raise DataError(
            f"{printable(path)}: neither a folder nor a whole zip ({detail}): copy it again"
        ) from error
    found = {place: list(files.items()) for place, files in sorted(places.items())}
    nearer = [found.pop(place, []) for place in (".", FOLDER)]
    further = [files for place, files in found.items() if _one_level_down(place)]
    return _only_place(path, nearer, further)


def _one_level_down(place: str) -> bool:
    parts = PurePosixPath(place).parts
    return len(parts) == 1 or (len(parts) == 2 and parts[1] == FOLDER)


def _only_place(
    root: Path, nearer: list[list[tuple[str, Ref]]], further: list[list[tuple[str, Ref]]]
) -> list[tuple[str, Ref]]:
    for files in nearer:
        if files:
            return files
    filled = [files for files in further if files]
    if not filled:
        raise NoPicturesError(
            f"{printable(root)}: no pairs there, expected {FOLDER}/STEM.jpg and {FOLDER}/STEM.png"
        )
    if len(filled) > 1:
        raise DataError(
            f"{printable(root)}: {len(filled)} folders with pictures in it: name one of them"
        )
    return filled[0]


def _is_picture(name: str) -> bool:
    return name.lower().endswith(IMAGES + MASKS) and _visible(name)


def _visible(name: str) -> bool:
    return not name.startswith((".", "__MACOSX"))


def _paired(path: Path, files: list[tuple[str, Ref]]) -> Listing:
    images: dict[str, Ref] = {}
    masks: dict[str, Ref] = {}
    unpaired: list[Unpaired] = []
    for name, ref in sorted(files, key=lambda file: file[0]):
        stem, suffix = os.path.splitext(name)  # noqa: PTH122 - a name, not a path
        kind, half = ("image", images) if suffix.lower() in IMAGES else ("mask", masks)
        if stem in half:
            unpaired.append(Unpaired(_text(stem), ref, f"a second {kind} of the same name"))
        else:
            half[stem] = ref
    return _matched(path, images, masks, unpaired)


def _matched(
    path: Path, images: dict[str, Ref], masks: dict[str, Ref], unpaired: list[Unpaired]
) -> Listing:
    both = sorted(images.keys() & masks.keys())
    unpaired += [Unpaired(_text(s), images[s], IMAGE_ALONE) for s in images if s not in masks]
    unpaired += [Unpaired(_text(s), masks[s], MASK_ALONE) for s in masks if s not in images]
    unpaired.sort(key=lambda one: (one.stem, one.problem))
    items = tuple(Item(_text(stem), images[stem], masks[stem]) for stem in both)
    return Listing(printable(path.resolve().name or path), items, tuple(unpaired))


def _apart(root: Path, image_folder: Path, mask_folder: Path) -> Listing:
    """Pairs whose images lie in one folder and whose masks, JPEG or PNG both, in another."""
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
    return _matched(root, images, masks, unpaired)


def _by_stem(folder: Path, kind: str, unpaired: list[Unpaired]) -> dict[str, Ref]:
    found: dict[str, Ref] = {}
    for name, ref in sorted(_scan(folder), key=lambda file: file[0]):
        stem = os.path.splitext(name)[0]  # noqa: PTH122 - a name, not a path
        if kind == "mask":
            stem = _MASK_ENDING.sub("", stem)
        if stem in found:
            unpaired.append(Unpaired(_text(stem), ref, f"a second {kind} of the same name"))
        else:
            found[stem] = ref
    return found


def _text(stem: str) -> str:
    """``stem`` as text that UTF-8 can hold, whatever bytes the file system gave."""
    return os.fsencode(stem).decode("utf-8", "backslashreplace")


def split(items: Sequence[Item], seed: int) -> Splits:
    """Split 0.8/0.1/0.1 in the order of a hash of seed and stem.

    The order of ``items`` plays no part. Of two items the one goes to validation, of three or more
    each part gets one at least.
    """
    order = _shuffled(items, f"split:{seed}")
    val = _share(len(order), VALIDATION_SHARE, spare=1)
    test = _share(len(order), TEST_SHARE, spare=2)
    train = len(order) - val - test
    return Splits(order[:train], order[train : train + val], order[train + val :])


def _share(count: int, share: float, spare: int) -> int:
    return max(round(count * share), 1) if count > spare else 0


def subset(
    items: Sequence[Item], fraction: float, *, at_least: int = 1, seed: int = 0
) -> tuple[Item, ...]:
    """Take ``fraction`` of ``items``, but ``at_least`` so many, or all there are.

    The same seed gives the same items, and a smaller fraction the start of a larger one.

    Raises:
        DataError: ``fraction`` is not above 0 and at most 1.
    """
    if not 0.0 < fraction <= 1.0:
        raise DataError(f"a subset of {fraction} is not possible: give a fraction above 0, up to 1")
    order = _shuffled(items, f"subset:{seed}")
    return order[: max(round(fraction * len(order)), at_least, 1)]


def _shuffled(items: Sequence[Item], salt: str) -> tuple[Item, ...]:
    def rank(item: Item) -> tuple[bytes, str]:
        return hashlib.sha256(f"{salt}:{item.stem}".encode()).digest(), item.stem

    return tuple(sorted(items, key=rank))
