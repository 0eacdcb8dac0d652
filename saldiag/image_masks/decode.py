"""Reading pictures with Pillow, where TensorFlow is not wanted: checking and drawing."""

from __future__ import annotations

import io
import os
import warnings
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from typing import Any, TypeVar

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from saldiag.core.errors import DataError
from saldiag.core.wording import printable
from saldiag.image_masks.storage import Item, Ref

Array = np.ndarray[Any, Any]
T = TypeVar("T")
R = TypeVar("R")

FORMATS = ("JPEG", "PNG")
"""No other decoder is ever offered an untrusted file."""
LARGEST_PICTURE = 100_000_000
"""Pixels; decoded that is 300 MB. The largest of MSRA10K has 0.16 million."""
THRESHOLD = 128
"""Mask values from here on are object."""
_JPEG_END, _PNG_END = b"\xff\xd9", b"IEND\xaeB`\x82"
"""How a whole JPEG (its EOI marker) and a whole PNG (its IEND chunk) end."""
_ORIENTATION = 0x0112  # Exif 2.3, tag of TIFF's IFD 0


@contextmanager
def opened(ref: Ref, content: bytes | None = None) -> Iterator[Image.Image]:
    """Open a picture; any failure to decode inside the block is a ``DataError`` that names it."""
    try:
        content = ref.read() if content is None else content
        with Image.open(io.BytesIO(content), formats=FORMATS) as picture:
            _refuse(ref, picture, content)
            yield picture
    except DataError:
        raise
    except UnidentifiedImageError as error:
        raise DataError(f"{ref}: not a JPEG or PNG picture") from error
    except Image.DecompressionBombError as error:
        raise DataError(f"{ref}: more pixels than {LARGEST_PICTURE} are too many") from error
    except Exception as error:  # Pillow's plugins raise whatever a damaged file drives them to
        raise DataError(f"{ref}: damaged picture ({printable(str(error))})") from error


def _refuse(ref: Ref, picture: Image.Image, content: bytes) -> None:
    # Pillow does without the end of a PNG, TensorFlow does not.
    if picture.format == "PNG" and _PNG_END not in content:
        raise DataError(f"{ref}: damaged picture (the end of the PNG is missing)")
    if picture.width * picture.height > LARGEST_PICTURE:
        raise DataError(f"{ref}: {picture.width}x{picture.height} pixels are too many")


def load_fast(picture: Image.Image) -> None:
    """Decode to the end of the file at the least cost: finds truncation, gives no pixels.

    JPEGs are decoded at an eighth of their size (libjpeg's scaled DCT); all their data is parsed.
    """
    picture.draft("L", (max(picture.width // 8, 1), max(picture.height // 8, 1)))
    picture.load()


def orientation(picture: Image.Image) -> int:
    """Exif's orientation, 1 to 8; 1, which is upright, also where there is none."""
    value = picture.getexif().get(_ORIENTATION, 1)
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def mask_levels(picture: Image.Image) -> Array:
    """A mask as uint8 (height, width), as the training pipeline sees it."""
    if picture.mode.startswith("I;16") or picture.mode == "I":
        return (np.asarray(picture, dtype=np.uint32) >> 8).astype(np.uint8)
    return np.asarray(picture.convert("L"))


def read_pair(item: Item) -> tuple[Array, Array]:
    """Read a pair at its own size: image uint8 (H, W, 3), upright, and mask uint8 (h, w) of 0, 1.

    Raises:
        DataError: a file is missing or damaged; the message names it.
    """
    with opened(item.image) as picture:
        image = np.asarray(ImageOps.exif_transpose(picture).convert("RGB"))
    with opened(item.mask) as picture:
        mask = (mask_levels(picture) >= THRESHOLD).astype(np.uint8)
    return image, mask


def read_mask(ref: Ref) -> Array:
    """Read a ground truth at its own size: bool (height, width).

    Grey levels from ``THRESHOLD`` on are object; in a mask of 0 and 1 the ones are.

    Raises:
        DataError: the file is missing or damaged; the message names it.
    """
    with opened(ref) as picture:
        levels = mask_levels(picture)
    return np.asarray(levels >= (1 if levels.max() <= 1 else THRESHOLD))


def upright_size(ref: Ref, content: bytes) -> tuple[int, int]:
    """Height and width of a picture once Exif's orientation is applied, from its header alone.

    Raises:
        DataError: ``content`` is no picture, or too large; the message names it.
    """
    with opened(ref, content) as picture:
        width, height = picture.size
        turned = orientation(picture) >= 5  # 5 to 8 swap the sides
    return (width, height) if turned else (height, width)


def verify(items: Iterable[Item]) -> None:
    """Look at every file of ``items`` once, on all cores, so that training will not stumble.

    Header, size and end of the file are checked, and a zip member's checksum; a file that does not
    end as its format demands is decoded to see whether it is truncated.

    Raises:
        DataError: a file is missing, truncated or no picture; the first such, in order of items.
    """
    bad: dict[int, DataError] = {}

    def attempt(numbered: tuple[int, Item]) -> None:
        number, item = numbered
        try:
            for ref in (item.image, item.mask):
                _verify_file(ref)
        except DataError as error:
            bad[number] = error

    for _ in in_threads(attempt, list(enumerate(items))):
        pass
    if bad:
        raise bad[min(bad)]


def _verify_file(ref: Ref) -> None:
    content = ref.read()
    with opened(ref, content) as picture:
        if not content.endswith((_JPEG_END, _PNG_END)):
            load_fast(picture)


def in_threads(function: Callable[[T], R], values: list[T]) -> Iterator[tuple[int, R]]:
    """Yield ``(index, function(value))`` as they come, from a few threads.

    Pillow, hashing and reading release the interpreter lock, so threads do use all cores. An
    exception here or in the consumer (Ctrl-C) drops what has not begun. Pillow's hints on odd but
    readable files are silenced here, for all threads at once: filters belong to the process.
    """
    pool = ThreadPoolExecutor(max_workers=min(os.cpu_count() or 1, 8))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"PIL\.")
        try:
            waiting = {pool.submit(function, value): index for index, value in enumerate(values)}
            for future in as_completed(waiting):
                yield waiting[future], future.result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
