"""``saldiag data check``: list every defect of a data set."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from saldiag.core.errors import DataError
from saldiag.core.wording import counted, printable
from saldiag.image_masks.decode import (
    MASK_THRESHOLD,
    exif_orientation,
    in_threads,
    load_fast,
    mask_levels,
    open_picture,
)
from saldiag.image_masks.msra10k import SAMPLE_NAME, Listing, Splits, list_pairs, split_items
from saldiag.image_masks.sample import cached_sample
from saldiag.image_masks.storage import FileRef, Item, Ref
from saldiag.progress import CountReporter, report_no_count

SCHEMA_VERSION = 1
Array = np.ndarray[Any, Any]

DefectKind = Literal[
    "unpaired",
    "unreadable",
    "mask size",
    "mask not binary",
    "mask empty",
    "mask full",
    "duplicate across splits",
]
KINDS: tuple[DefectKind, ...] = get_args(DefectKind)
"""All kinds of defects, in the order they are reported in."""


@dataclass(frozen=True)
class Defect:
    """One defect of one pair."""

    kind: DefectKind
    """What is wrong."""
    stem: str
    """File name of the pair without suffix."""
    file: str
    """Path of the defective file, relative to the data set."""
    detail: str
    """The measured values, in words."""


@dataclass(frozen=True)
class DataReport:
    """What a data set holds, and its defects."""

    name: str
    """Name of the data set."""
    path: str
    """Its folder or zip."""
    seed: int
    """Seed of the split."""
    pairs: int
    """Number of complete pairs."""
    splits: dict[str, int]
    """Number of pairs in ``train``, ``val`` and ``test``."""
    defects: tuple[Defect, ...]
    """All defects, by kind, stem and file."""
    notes: dict[str, int]
    """Counts of what is no defect but worth knowing: greyscale images, images rotated by Exif,
    images that occur twice within a split."""

    def defect_counts(self) -> dict[str, int]:
        """Number of defects of each kind, in the order of ``KINDS``."""
        return {kind: sum(d.kind == kind for d in self.defects) for kind in KINDS}

    def to_dict(self) -> dict[str, Any]:
        """The report for JSON."""
        return {
            "schema_version": SCHEMA_VERSION,
            "name": self.name,
            "path": self.path,
            "seed": self.seed,
            "pairs": self.pairs,
            "splits": dict(self.splits),
            "counts": self.defect_counts(),
            "notes": dict(self.notes),
            "defects": [
                {"kind": d.kind, "stem": d.stem, "file": d.file, "detail": d.detail}
                for d in self.defects
            ],
        }


@dataclass(frozen=True)
class _PairInspection:
    """What reading one pair showed."""

    problems: tuple[tuple[DefectKind, Ref, str], ...]
    """Kind, file and detail of each defect."""
    digest: str | None
    """SHA-256 of the image file; None if it cannot be read."""
    greyscale: bool = False
    """Whether the image has one channel."""
    turned: bool = False
    """Whether Exif rotates or flips the image."""


def check_dataset(
    path: Path | None, seed: int = 0, progress: CountReporter = report_no_count
) -> DataReport:
    """Read every file of a data set, on all cores, and list its defects.

    Args:
        path: folder or zip in MSRA10K's layout; None is the built-in sample.
        seed: seed of the split, across which duplicates are defects.
        progress: called with the pairs done and the total.

    Raises:
        DataError: there is no data set at ``path``.
    """
    name = SAMPLE_NAME if path is None else None
    path = cached_sample() if path is None else path
    listing = list_pairs(path)
    items = listing.items
    inspections: dict[str, _PairInspection] = {}
    progress(0, len(items))
    for index, inspection in in_threads(_inspect_pair, list(items)):
        inspections[items[index].stem] = inspection
        progress(len(inspections), len(items))
    report = _build_report(path, seed, listing, inspections)
    return replace(report, name=name) if name else report


def _build_report(
    path: Path, seed: int, listing: Listing, inspections: dict[str, _PairInspection]
) -> DataReport:
    items = {item.stem: item for item in listing.items}
    splits = split_items(listing.items, seed)
    across, within = _find_duplicates(splits, inspections)
    found: list[tuple[DefectKind, str, Ref, str]] = [
        ("unpaired", one.stem, one.file, one.problem) for one in listing.unpaired
    ]
    found += [
        (kind, stem, ref, text)
        for stem, inspection in inspections.items()
        for kind, ref, text in inspection.problems
    ]
    found += [("duplicate across splits", stem, items[stem].image, text) for stem, text in across]
    defects = (
        Defect(kind, stem, _relative_path(ref, path), text) for kind, stem, ref, text in found
    )
    return DataReport(
        name=listing.name,
        path=printable(path),
        seed=seed,
        pairs=len(items),
        splits={"train": len(splits.train), "val": len(splits.val), "test": len(splits.test)},
        defects=tuple(sorted(defects, key=lambda d: (KINDS.index(d.kind), d.stem, d.file))),
        notes={
            "greyscale images": sum(one.greyscale for one in inspections.values()),
            "images turned by Exif": sum(one.turned for one in inspections.values()),
            "duplicates within a split": within,
        },
    )


def _relative_path(ref: Ref, root: Path) -> str:
    if isinstance(ref, FileRef):
        return printable(ref.path.relative_to(root))
    return printable(ref.name)


def _inspect_pair(item: Item) -> _PairInspection:
    problems: list[tuple[DefectKind, Ref, str]] = []
    digest, size, greyscale, turn = None, None, False, 1
    try:
        content = item.image.read()
        digest = hashlib.sha256(content).hexdigest()
        with open_picture(item.image, content) as picture:
            # Read the header first: decoding at an eighth of the size changes ``size``.
            greyscale, turn, size = (
                picture.mode in {"L", "1"},
                exif_orientation(picture),
                picture.size,
            )
            load_fast(picture)
    except DataError as error:
        problems.append(("unreadable", item.image, _without_name(error, item.image)))
    try:
        with open_picture(item.mask) as picture:
            levels = mask_levels(picture)
        problems += [(kind, item.mask, text) for kind, text in _mask_problems(levels, size, turn)]
    except DataError as error:
        problems.append(("unreadable", item.mask, _without_name(error, item.mask)))
    return _PairInspection(tuple(problems), digest, greyscale, turn > 1)


def _without_name(error: DataError, ref: Ref) -> str:
    return str(error).removeprefix(f"{ref}: ")


def _mask_problems(
    levels: Array, stored: tuple[int, int] | None, turn: int
) -> Iterable[tuple[DefectKind, str]]:
    """The defects of a mask, as kind and detail.

    Args:
        levels: the mask, uint8 (h, w).
        stored: width and height of the image file; None if it cannot be read.
        turn: the image's Exif orientation, 1 to 8.
    """
    height, width = levels.shape
    if stored is not None:
        shown = stored[::-1] if turn >= 5 else stored  # orientations 5 to 8 swap the sides
        if (width, height) != shown:
            yield "mask size", _size_text((width, height), shown, stored)
    values = np.flatnonzero(np.bincount(levels.ravel(), minlength=256))
    if not set(values.tolist()) <= {0, 255}:
        between = float(np.mean((levels > 0) & (levels < 255)))
        yield (
            "mask not binary",
            (
                f"{len(values)} values from {values[0]} to {values[-1]}, "
                f"{100.0 * between:.2g} % of the pixels neither 0 nor 255"
            ),
        )
    if levels.max() < MASK_THRESHOLD:
        yield "mask empty", f"no pixel is {MASK_THRESHOLD} or more (the highest is {levels.max()})"
    elif levels.min() >= MASK_THRESHOLD:
        yield "mask full", f"no pixel is below {MASK_THRESHOLD}"


def _size_text(mask: tuple[int, int], shown: tuple[int, int], stored: tuple[int, int]) -> str:
    text = f"mask {mask[0]}x{mask[1]}, image {shown[0]}x{shown[1]}"
    if mask == stored:
        return f"{text} after its Exif rotation: the mask was drawn on the unrotated image"
    return text


def _find_duplicates(
    splits: Splits, inspections: dict[str, _PairInspection]
) -> tuple[list[tuple[str, str]], int]:
    """Images with the same bytes.

    Returns:
        Stem and detail of each copy in another split, and the number of copies within a split.
    """
    same: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for name, part in (("train", splits.train), ("val", splits.val), ("test", splits.test)):
        for item in part:
            digest = inspections[item.stem].digest
            if digest is not None:
                same[digest].append((name, item.stem))
    across: list[tuple[str, str]] = []
    within = 0
    for copies in same.values():
        (first, original), *rest = copies
        elsewhere = [(name, stem) for name, stem in rest if name != first]
        across += [
            (stem, f"in {n}; the same image as {original} in {first}") for n, stem in elsewhere
        ]
        within += len(rest) - len(elsewhere)
    return across, within


def to_table(report: DataReport, limit: int | None = None) -> RenderableType:
    """Headline, a table of the defects for 80 columns, and notes.

    Args:
        report: the report.
        limit: most rows, followed by the number of further ones; None lists all.
    """
    parts: list[RenderableType] = [Text(_report_headline(report))]
    if report.defects:
        parts.append(_defect_table(report.defects, limit))
    notes = [f"{count} {name}" for name, count in report.notes.items() if count]
    if notes:
        parts.append(Text(f"also: {', '.join(notes)}"))
    return Group(*parts)


def _defect_table(defects: tuple[Defect, ...], limit: int | None) -> Table:
    table = Table()
    table.add_column("defect", no_wrap=True)
    table.add_column("file", overflow="fold", max_width=24)
    table.add_column("what", overflow="fold")
    for defect in defects[:limit]:
        # Text instead of str: file names may contain rich's markup.
        table.add_row(Text(defect.kind), Text(defect.file), Text(defect.detail))
    if limit is not None and limit < len(defects):
        table.add_row("…", "", f"{len(defects) - limit} more")
    return table


def _report_headline(report: DataReport) -> str:
    count = len(report.defects)
    parts = ", ".join(f"{name} {number}" for name, number in report.splits.items())
    defects = "no defects" if not count else counted(count, "defect")
    return f"{report.name}: {report.pairs} pairs ({parts}), {defects}"
