"""The built-in sample: generated pictures in MSRA10K's layout, so that nothing need be fetched."""

from __future__ import annotations

import atexit
import hashlib
import shutil
import stat
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import platformdirs
from PIL import Image

from saldiag.core.errors import DataError
from saldiag.core.wording import printable
from saldiag.image_masks.sample_pictures import draw
from saldiag.image_masks.storage import FOLDER, reason

COUNT = 120
SIZE = (180, 320)
"""Shortest and longest side in pixels."""
GREY_EVERY = 11
"""Every so-manieth picture is greyscale; real sets hold some."""
VERSION = 1
"""Part of the cache's name: to be raised whenever other pictures come out."""
_MANIFEST = "sample.sha256"


def write_sample(
    directory: Path, count: int = COUNT, seed: int = 0, size: tuple[int, int] = SIZE
) -> int:
    """Write ``count`` pairs into ``directory/Imgs`` and return their number.

    A picture depends on ``seed`` and its own number alone: a smaller sample is the start of a
    larger one. ``Imgs`` appears whole or not at all.

    Raises:
        DataError: the directory holds something already, or cannot be written.
    """
    _write(directory, count, seed, size)
    return count


def cached_sample() -> Path:
    """The sample in the user's cache directory, made on first use and made again when damaged.

    Where the cache cannot be written, a temporary directory that lasts as long as the process.

    Raises:
        DataError: neither place can be written.
    """
    place = Path(platformdirs.user_cache_dir("saldiag", appauthor=False)) / f"sample-v{VERSION}"
    if _is_whole(place):
        return place
    try:
        return _renew(place)
    except (OSError, DataError):
        temporary = Path(tempfile.mkdtemp(prefix="saldiag-sample-"))
        atexit.register(shutil.rmtree, temporary, ignore_errors=True)
        write_sample(temporary)
        return temporary


def _renew(place: Path) -> Path:
    """Make the sample beside ``place`` and put it there."""
    place.parent.mkdir(parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(dir=place.parent, prefix=f".{place.name}."))
    try:
        write_sample(fresh / "new")
        manifest = "".join(f"{digest}  {name}\n" for name, digest in _digests(fresh / "new"))
        (fresh / "new" / _MANIFEST).write_text(manifest, encoding="ascii")
        if place.exists():
            place.rename(fresh / "old")
        try:
            (fresh / "new").rename(place)
        except OSError:  # another process was faster
            if not _is_whole(place):
                raise
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return place


def _is_whole(place: Path) -> bool:
    try:
        manifest = (place / _MANIFEST).read_text(encoding="ascii")
        found = "".join(f"{digest}  {name}\n" for name, digest in _digests(place))
    except (OSError, ValueError):
        return False
    return bool(manifest) and manifest == found


def _digests(place: Path) -> Iterator[tuple[str, str]]:
    for path in sorted((place / FOLDER).iterdir()):
        yield f"{FOLDER}/{path.name}", hashlib.sha256(path.read_bytes()).hexdigest()


def _write(directory: Path, count: int, seed: int, size: tuple[int, int]) -> None:
    where = printable(directory)
    try:
        with _new_folder(directory) as folder, ThreadPoolExecutor() as pool:
            numbers = range(count)
            for _ in pool.map(lambda number: _write_pair(folder, number, seed, size), numbers):
                pass
    except FileExistsError as error:
        raise DataError(f"{where}: a file is in the way: choose another directory") from error
    except OSError as error:
        raise DataError(f"{where}: cannot be written ({reason(error)})") from error


@contextmanager
def _new_folder(directory: Path) -> Iterator[Path]:
    """A temporary folder in ``directory`` that becomes ``Imgs`` at a clean end."""
    existed = directory.exists()
    directory.mkdir(parents=True, exist_ok=True)
    if any(directory.iterdir()):
        raise DataError(f"{printable(directory)}: is not empty: choose a new or empty directory")
    temporary = Path(tempfile.mkdtemp(dir=directory, prefix=f".{FOLDER}."))
    try:
        yield temporary
        temporary.chmod(stat.S_IMODE(directory.stat().st_mode))  # mkdtemp lets nobody else in
        temporary.rename(directory / FOLDER)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        if not existed:
            directory.rmdir()
        raise


def _write_pair(folder: Path, number: int, seed: int, size: tuple[int, int]) -> None:
    rng = np.random.default_rng([seed, number])
    height, width = (int(side) for side in rng.integers(size[0], size[1] + 1, size=2))
    image, mask = draw(rng, height, width)
    picture = Image.fromarray(image)
    if number % GREY_EVERY == GREY_EVERY - 1:
        picture = picture.convert("L")
    stem = folder / f"sample-{number:04d}"
    picture.save(stem.with_suffix(".jpg"), quality=90)
    Image.fromarray(mask).save(stem.with_suffix(".png"))
