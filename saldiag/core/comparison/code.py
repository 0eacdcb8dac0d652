"""The program's files in each run, and the changes in them."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePath

from saldiag.core.measurement import SourceFile, SourceFiles
from saldiag.core.wording import printable

NO_END = "\n\\ No newline at end of file"


@dataclass(frozen=True)
class FileRow:
    """One file of the program in each run."""

    file: str
    """Path of the file in the first run that has it."""
    files: tuple[SourceFile | None, ...]
    """The file in each run; None if a run does not have it."""
    known: tuple[bool, ...]
    """Whether each run recorded its files."""
    diffs: tuple[str | None, ...]
    """Unified diff from the first run to each later one; empty if nothing changed, None if there is
    no text to compare."""

    @property
    def differs(self) -> bool:
        """Whether the content differs between runs, or a run does not have the file."""
        hashes = {source.sha256 if source else None for source in self._recorded}
        return len(hashes) > 1

    @property
    def _recorded(self) -> list[SourceFile | None]:
        return [source for source, known in zip(self.files, self.known, strict=True) if known]


def compare_files(
    recorded: Sequence[SourceFiles | None], names: Sequence[str]
) -> tuple[FileRow, ...]:
    """One row a file, those of the first run first.

    Args:
        recorded: the files of each run; None where they were not recorded.
        names: of the runs, for the heads of the diffs.
    """
    first, *later = [list(each.files) if each else [] for each in recorded]
    known = tuple(each is not None for each in recorded)
    partners = [_partners(first, other) for other in later]
    rows = [[source, *(p.get(source.file) for p in partners)] for source in first]
    added = dict.fromkeys(
        source.file
        for other, pairs in zip(later, partners, strict=True)
        for source in other
        if source not in pairs.values()
    )
    found = [{source.file: source for source in other} for other in later]
    taken = [{source.file for source in p.values()} for p in partners]
    rows += [
        [None, *(None if file in t else f.get(file) for f, t in zip(found, taken, strict=True))]
        for file in added
    ]
    return tuple(_row(tuple(row), known, names) for row in rows)


def _partners(first: list[SourceFile], other: list[SourceFile]) -> dict[str, SourceFile]:
    """The file of ``other`` that stands for each of ``first``, by its path there.

    By path, then by name alone; where one is left on each side, those two: a script that was
    copied to be changed.
    """
    pairs: dict[str, SourceFile] = {}
    for key in (_path, _name, _any):
        left = [source for source in first if source.file not in pairs]
        free = [source for source in other if source not in pairs.values()]
        for source in left:
            same = [candidate for candidate in free if key(candidate) == key(source)]
            if len(same) == 1 and sum(key(one) == key(source) for one in left) == 1:
                pairs[source.file] = same[0]
    return pairs


def _path(source: SourceFile) -> str:
    return source.file


def _name(source: SourceFile) -> str:
    return PurePath(source.file).name


def _any(_: SourceFile) -> str:
    return ""


def _row(
    files: tuple[SourceFile | None, ...], known: tuple[bool, ...], names: Sequence[str]
) -> FileRow:
    first, *later = files
    file = next(source.file for source in files if source is not None)
    told = [_head(name, source, file) for name, source in zip(names, files, strict=True)]
    diffs = [
        unified(first, other, told[0], head) if known[0] and held else None
        for other, head, held in zip(later, told[1:], known[1:], strict=True)
    ]
    return FileRow(file, files, known, tuple(diffs))


def _head(name: str, source: SourceFile | None, file: str) -> str:
    return printable(f"{name}/{source.file if source else file}")


def unified(before: SourceFile | None, after: SourceFile | None, old: str, new: str) -> str | None:
    """A unified diff; a file that is not there counts as empty. None without a text."""
    if before is not None and after is not None and before.sha256 == after.sha256:
        return ""
    texts = [source.text if source is not None else "" for source in (before, after)]
    if any(text is None for text in texts):
        return None
    lines = [list(_lines(text or "")) for text in texts]
    changed = difflib.unified_diff(lines[0], lines[1], old, new, lineterm="")
    return "".join(f"{line}\n" for line in changed)


def _lines(text: str) -> Iterator[str]:
    """The lines of a text, split at line feeds alone; the last one says if it has none."""
    *whole, rest = text.split("\n")
    yield from whole
    if rest:
        yield rest + NO_END
