"""Which text of the user's files a run speaks of: the SHA-256 of each, kept in the run."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from saldiag.core.errors import RunError
from saldiag.core.files.jsonio import read_json, restore, write_json
from saldiag.core.files.sources import digest
from saldiag.core.findings.diagnosis import SCHEMA_VERSION

FILE = "sources.json"


@dataclass(frozen=True)
class Fingerprint:
    """A source file at the time of the run."""

    file: str
    """Path as in ``Source.file``."""
    path: str
    """Absolute path."""
    sha256: str
    """SHA-256 of its bytes, as 64 hexadecimal digits."""


@dataclass(frozen=True)
class Fingerprints:
    """``sources.json``: the files that a run's findings refer to."""

    files: tuple[Fingerprint, ...] = ()
    """The files, sorted by ``file``."""
    schema_version: int = SCHEMA_VERSION
    """Version of the format."""

    def of(self, file: str) -> Fingerprint | None:
        """The one of the file that findings call ``file``."""
        return next((known for known in self.files if known.file == file), None)

    def only(self, files: Iterable[str]) -> Fingerprints:
        """Those of some files alone, sorted."""
        wanted = set(files)
        kept = (known for known in self.files if known.file in wanted)
        return Fingerprints(tuple(sorted(kept, key=lambda known: known.file)))


class FilesSeen:
    """Takes the fingerprint of each file when it is noted for the first time.

    One object belongs to one run: another program may have other files under the same names.
    """

    def __init__(self) -> None:
        self._seen: dict[str, Fingerprint | None] = {}
        self._home = Path()
        with suppress(OSError):  # the directory may be gone
            self._home = Path.cwd()  # the program may change it; file names stay relative to this

    def note(self, file: str, path: str) -> None:
        """``file`` is the name that findings have of ``path``; what is no file is left out."""
        if file not in self._seen:
            self._seen[file] = _taken(file, self._home / path)

    def fingerprints(self) -> Fingerprints:
        """Of all files seen so far."""
        return Fingerprints(tuple(known for known in self._seen.values() if known is not None))


def _taken(file: str, path: Path) -> Fingerprint | None:
    try:
        where = path.resolve()
        return Fingerprint(file, str(where), digest(where.read_bytes()))
    except (OSError, ValueError):  # the cell of a notebook, text given to exec
        return None


def write_fingerprints(run: Path, known: Fingerprints) -> None:
    """Write ``sources.json`` into the run directory ``run``.

    Raises:
        OSError: it cannot be written.
    """
    write_json(run / FILE, known)


def read_fingerprints(run: Path) -> Fingerprints:
    """Read ``sources.json``; of a run that has none, nothing.

    Raises:
        RunError: it cannot be read.
    """
    path = run / FILE
    if not path.exists():
        return Fingerprints()
    try:
        found = restore(Fingerprints, read_json(path))
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise RunError(f"{path}: cannot be read ({error})") from error
    assert isinstance(found, Fingerprints)
    return found
