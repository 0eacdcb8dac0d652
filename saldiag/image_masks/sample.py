"""The built-in sample: generated pairs in MSRA10K's layout, for use without a download."""

from __future__ import annotations

import atexit
import hashlib
import os
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
from saldiag.image_masks.sample_pictures import draw_picture
from saldiag.image_masks.storage import PAIRS_FOLDER, os_error_reason

SAMPLE_COUNT = 120
"""Number of pairs."""
SIDE_RANGE = (180, 320)
"""Shortest and longest side in pixels."""
GREY_EVERY = 11
"""One image in so many is greyscale; real data sets hold some."""
CACHE_VERSION = 1
"""Part of the cache's name: raise it whenever the generated images change."""
_MANIFEST_NAME = "sample.sha256"


def write_sample(
    directory: Path, count: int = SAMPLE_COUNT, seed: int = 0, size: tuple[int, int] = SIDE_RANGE
) -> int:
    """Write generated pairs into ``directory/Imgs``; returns their number.

    A pair depends only on ``seed`` and its own number: a smaller sample is the start of a larger
    one. ``Imgs`` is written completely or not at all.

    Args:
        directory: a new or empty directory.
        count: number of pairs.
        seed: seed of the images.
        size: shortest and longest side in pixels.

    Raises:
        DataError: the directory is not empty or cannot be written.
    """
    _write_all_pairs(directory, count, seed, size)
    return count


def cached_sample() -> Path:
    """The sample in the user's cache directory, generated on first use and again when damaged.

    If the cache cannot be written, a temporary directory that is deleted at the process' end.

    Raises:
        DataError: neither directory can be written.
    """
    place = (
        Path(platformdirs.user_cache_dir("saldiag", appauthor=False)) / f"sample-v{CACHE_VERSION}"
    )
    if _is_whole(place):
        return place
    try:
        return _renew_cache(place)
    except (OSError, DataError):
        temporary = Path(tempfile.mkdtemp(prefix="saldiag-sample-"))
        atexit.register(_remove_at_exit, temporary, os.getpid())
        write_sample(temporary)
        return temporary


def _remove_at_exit(folder: Path, process: int) -> None:
    """Delete a folder, but not at the end of a child process that was forked."""
    if os.getpid() == process:
        shutil.rmtree(folder, ignore_errors=True)


def _renew_cache(place: Path) -> Path:
    """Generate the sample beside ``place`` and rename it to ``place``."""
    place.parent.mkdir(parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(dir=place.parent, prefix=f".{place.name}."))
    try:
        write_sample(fresh / "new")
        manifest = "".join(f"{digest}  {name}\n" for name, digest in _file_digests(fresh / "new"))
        (fresh / "new" / _MANIFEST_NAME).write_text(manifest, encoding="ascii")
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
        manifest = (place / _MANIFEST_NAME).read_text(encoding="ascii")
        found = "".join(f"{digest}  {name}\n" for name, digest in _file_digests(place))
    except (OSError, ValueError):
        return False
    return bool(manifest) and manifest == found


def _file_digests(place: Path) -> Iterator[tuple[str, str]]:
    for path in sorted((place / PAIRS_FOLDER).iterdir()):
        yield f"{PAIRS_FOLDER}/{path.name}", hashlib.sha256(path.read_bytes()).hexdigest()


def _write_all_pairs(directory: Path, count: int, seed: int, size: tuple[int, int]) -> None:
    where = printable(directory)
    try:
        with _new_folder(directory) as folder, ThreadPoolExecutor() as pool:
            numbers = range(count)
            for _ in pool.map(lambda number: _write_pair(folder, number, seed, size), numbers):
                pass
    except FileExistsError as error:
        raise DataError(f"{where}: is a file: choose another directory") from error
    except OSError as error:
        raise DataError(f"{where}: cannot be written ({os_error_reason(error)})") from error


@contextmanager
def _new_folder(directory: Path) -> Iterator[Path]:
    """A temporary folder in ``directory`` that is renamed to ``Imgs`` unless the block fails."""
    existed = directory.exists()
    directory.mkdir(parents=True, exist_ok=True)
    if any(directory.iterdir()):
        raise DataError(f"{printable(directory)}: is not empty: choose a new or empty directory")
    temporary = Path(tempfile.mkdtemp(dir=directory, prefix=f".{PAIRS_FOLDER}."))
    try:
        yield temporary
        temporary.chmod(stat.S_IMODE(directory.stat().st_mode))  # mkdtemp restricts it to the user
        temporary.rename(directory / PAIRS_FOLDER)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        if not existed:
            directory.rmdir()
        raise


def _write_pair(folder: Path, number: int, seed: int, size: tuple[int, int]) -> None:
    rng = np.random.default_rng([seed, number])
    height, width = (int(side) for side in rng.integers(size[0], size[1] + 1, size=2))
    image, mask = draw_picture(rng, height, width)
    picture = Image.fromarray(image)
    if number % GREY_EVERY == GREY_EVERY - 1:
        picture = picture.convert("L")
    stem = folder / f"sample-{number:04d}"
    picture.save(stem.with_suffix(".jpg"), quality=90)
    Image.fromarray(mask).save(stem.with_suffix(".png"))
