"""``saldiag data check``: every defect of a data set, in one list."""

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
    THRESHOLD,
    in_threads,
    load_fast,
    mask_levels,
    opened,
    orientation,
)
from saldiag.image_masks.msra10k import SAMPLE_NAME, Listing, Splits, list_pairs, split
from saldiag.image_masks.progress import Advance, silent
from saldiag.image_masks.sample import cached_sample
from saldiag.image_masks.storage import FileRef, Item, Ref

SCHEMA_VERSION = 1
Array = np.ndarray[Any, Any]

Kind = Literal[
    "unpaired",
    "unreadable",
    "mask size",
    "mask not binary",
    "mask empty",
    "mask full",
    "duplicate across splits",
]
KINDS: tuple[Kind, ...] = get_args(Kind)


@dataclass(frozen=True)
class Defect:
    """One thing that is wrong with one pair; ``file`` is relative to the data set."""

    kind: Kind
    stem: str
    file: str
    detail: str


@dataclass(frozen=True)
class DataReport:
    """What a data set holds and what is wrong with it.

    ``notes`` counts what is in order but worth knowing: greyscale images, images that Exif turns,
    images that occur twice within one split.
    """

    name: str
    path: str
    seed: int
    pairs: int
    splits: dict[str, int]
    defects: tuple[Defect, ...]
    notes: dict[str, int]

    def counts(self) -> dict[str, int]:
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
            "counts": self.counts(),
            "notes": dict(self.notes),
            "defects": [
                {"kind": d.kind, "stem": d.stem, "file": d.file, "detail": d.detail}
                for d in self.defects
            ],
        }


@dataclass(frozen=True)
class _Look:
    """What one pair showed: (kind, file, detail), and what is noted."""

    problems: tuple[tuple[Kind, Ref, str], ...]
    digest: str | None
    greyscale: bool = False
    turned: bool = False


def check(path: Path | None, seed: int = 0, progress: Advance = silent) -> DataReport:
    """Read every file of a data set and list what is wrong, on all cores.

    Args:
        path: folder or zip in MSRA10K's layout; ``None`` is the built-in sample.
        seed: of the split that duplicates are looked for across.
        progress: called with pairs done and pairs in all.

    Raises:
        DataError: there is no data set at ``path``.
    """
    name = SAMPLE_NAME if path is None else None
    path = cached_sample() if path is None else path
    listing = list_pairs(path)
    items = listing.items
    looks: dict[str, _Look] = {}
    progress(0, len(items))
    for index, look in in_threads(_look, list(items)):
        looks[items[index].stem] = look
        progress(len(looks), len(items))
    report = _report(path, seed, listing, looks)
    return replace(report, name=name) if name else report


def _report(path: Path, seed: int, listing: Listing, looks: dict[str, _Look]) -> DataReport:
    items = {item.stem: item for item in listing.items}
    splits = split(listing.items, seed)
    across, within = _duplicates(splits, looks)
    found: list[tuple[Kind, str, Ref, str]] = [
        ("unpaired", one.stem, one.file, one.problem) for one in listing.unpaired
    ]
    found += [
        (kind, stem, ref, text) for stem, look in looks.items() for kind, ref, text in look.problems
    ]
    found += [("duplicate across splits", stem, items[stem].image, text) for stem, text in across]
    defects = (Defect(kind, stem, _relative(ref, path), text) for kind, stem, ref, text in found)
    return DataReport(
        name=listing.name,
        path=printable(path),
        seed=seed,
        pairs=len(items),
        splits={"train": len(splits.train), "val": len(splits.val), "test": len(splits.test)},
        defects=tuple(sorted(defects, key=lambda d: (KINDS.index(d.kind), d.stem, d.file))),
        notes={
            "greyscale images": sum(look.greyscale for look in looks.values()),
            "images turned by Exif": sum(look.turned for look in looks.values()),
            "duplicates within a split": within,
        },
    )


def _relative(ref: Ref, root: Path) -> str:
    if isinstance(ref, FileRef):
        return printable(ref.path.relative_to(root))
    return printable(ref.name)


def _look(item: Item) -> _Look:
    problems: list[tuple[Kind, Ref, str]] = []
    digest, size, greyscale, turn = None, None, False, 1
    try:
        content = item.image.read()
        digest = hashlib.sha256(content).hexdigest()
        with opened(item.image, content) as picture:
            # Header facts first: decoding at an eighth changes the size.
            greyscale, turn, size = picture.mode in {"L", "1"}, orientation(picture), picture.size
            load_fast(picture)
    except DataError as error:
        problems.append(("unreadable", item.image, _without_name(error, item.image)))
    try:
        with opened(item.mask) as picture:
            levels = mask_levels(picture)
        problems += [(kind, item.mask, text) for kind, text in _mask_problems(levels, size, turn)]
    except DataError as error:
        problems.append(("unreadable", item.mask, _without_name(error, item.mask)))
    return _Look(tuple(problems), digest, greyscale, turn > 1)


def _without_name(error: DataError, ref: Ref) -> str:
    return str(error).removeprefix(f"{ref}: ")


def _mask_problems(
    levels: Array, stored: tuple[int, int] | None, turn: int
) -> Iterable[tuple[Kind, str]]:
    """What is wrong with a mask (h, w) beside an image of ``stored`` (width, height)."""
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
    if levels.max() < THRESHOLD:
        yield "mask empty", f"no pixel is {THRESHOLD} or more (the highest is {levels.max()})"
    elif levels.min() >= THRESHOLD:
        yield "mask full", f"no pixel is below {THRESHOLD}"


def _size_text(mask: tuple[int, int], shown: tuple[int, int], stored: tuple[int, int]) -> str:
    text = f"mask {mask[0]}x{mask[1]}, image {shown[0]}x{shown[1]}"
    if mask == stored:
        return f"{text} once Exif has turned it: the mask was drawn on the unturned image"
    return text


def _duplicates(splits: Splits, looks: dict[str, _Look]) -> tuple[list[tuple[str, str]], int]:
    """Images with the same bytes: those across splits, and the number of extra ones within."""
    same: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for name, part in (("train", splits.train), ("val", splits.val), ("test", splits.test)):
        for item in part:
            digest = looks[item.stem].digest
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
    """Headline, defects as a table for 80 columns, and notes.

    Args:
        report: what was found.
        limit: rows at the most, then how many more there are; None: all.
    """
    parts: list[RenderableType] = [Text(_headline(report))]
    if report.defects:
        parts.append(_table(report.defects, limit))
    notes = [f"{count} {name}" for name, count in report.notes.items() if count]
    if notes:
        parts.append(Text(f"also: {', '.join(notes)}"))
    return Group(*parts)


def _table(defects: tuple[Defect, ...], limit: int | None) -> Table:
    table = Table()
    table.add_column("defect", no_wrap=True)
    table.add_column("file", overflow="fold", max_width=24)
    table.add_column("what", overflow="fold")
    for defect in defects[:limit]:
        # Text, not str: file names are no markup.
        table.add_row(Text(defect.kind), Text(defect.file), Text(defect.detail))
    if limit is not None and limit < len(defects):
        table.add_row("…", "", f"{len(defects) - limit} more")
    return table


def _headline(report: DataReport) -> str:
    count = len(report.defects)
    parts = ", ".join(f"{name} {number}" for name, number in report.splits.items())
    defects = "no defects" if not count else counted(count, "defect")
    return f"{report.name}: {report.pairs} pairs ({parts}), {defects}"
