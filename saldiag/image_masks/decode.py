"""Reads images with Pillow, without TensorFlow: for checks, verification and scores."""

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
"""The only formats that are decoded: no other decoder sees an untrusted file."""
MAX_PIXELS = 100_000_000
"""Most pixels of an image, 300 MB when decoded. MSRA10K's largest image has 0.16 million."""
MASK_THRESHOLD = 128
"""Mask values from which on a pixel belongs to the object, of 0 to 255."""
_JPEG_END, _PNG_END = b"\xff\xd9", b"IEND\xaeB`\x82"
"""The end of a complete JPEG (EOI marker) and of a complete PNG (IEND chunk)."""
_ORIENTATION_TAG = 0x0112  # Exif 2.3, tag of TIFF's IFD 0


@contextmanager
def open_picture(ref: Ref, content: bytes | None = None) -> Iterator[Image.Image]:
    """Open an image; an error while decoding it inside the block becomes a ``DataError``.

    Args:
        ref: the file, which the error names.
        content: the file's bytes; None reads them.

    Raises:
        DataError: the file cannot be read, is no JPEG or PNG, is damaged or too large.
    """
    try:
        content = ref.read() if content is None else content
        with Image.open(io.BytesIO(content), formats=FORMATS) as picture:
            _check_limits(ref, picture, content)
            yield picture
    except DataError:
        raise
    except UnidentifiedImageError as error:
        raise DataError(f"{ref}: not a JPEG or PNG image") from error
    except Image.DecompressionBombError as error:
        raise DataError(f"{ref}: more than {MAX_PIXELS} pixels") from error
    except Exception as error:  # a damaged file makes Pillow's plugins raise anything
        raise DataError(f"{ref}: damaged image ({printable(str(error))})") from error


def _check_limits(ref: Ref, picture: Image.Image, content: bytes) -> None:
    """Refuse truncated PNGs and images with more than ``MAX_PIXELS`` pixels."""
    # Pillow accepts a PNG without its end, TensorFlow does not.
    if picture.format == "PNG" and _PNG_END not in content:
        raise DataError(f"{ref}: damaged image (the end of the PNG is missing)")
    if picture.width * picture.height > MAX_PIXELS:
        raise DataError(f"{ref}: {picture.width}x{picture.height} pixels, more than {MAX_PIXELS}")


def load_fast(picture: Image.Image) -> None:
    """Decode to the end of the file as cheaply as possible, to detect truncation.

    JPEGs are decoded at an eighth of their size (libjpeg's scaled DCT), which parses all data; the
    pixels are of no use.
    """
    picture.draft("L", (max(picture.width // 8, 1), max(picture.height // 8, 1)))
    picture.load()


def exif_orientation(picture: Image.Image) -> int:
    """Exif's orientation, 1 to 8; 1, which is upright, if there is none."""
    value = picture.getexif().get(_ORIENTATION_TAG, 1)
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def mask_levels(picture: Image.Image) -> Array:
    """A mask as uint8 (height, width), as the training pipeline sees it."""
    if picture.mode.startswith("I;16") or picture.mode == "I":
        return (np.asarray(picture, dtype=np.uint32) >> 8).astype(np.uint8)
    return np.asarray(picture.convert("L"))


def read_pair(item: Item) -> tuple[Array, Array]:
    """Read a pair at its own size: upright image uint8 (H, W, 3), mask uint8 (h, w) of 0 and 1.

    Raises:
        DataError: a file is missing or damaged; the message names it.
    """
    with open_picture(item.image) as picture:
        image = np.asarray(ImageOps.exif_transpose(picture).convert("RGB"))
    with open_picture(item.mask) as picture:
        mask = (mask_levels(picture) >= MASK_THRESHOLD).astype(np.uint8)
    return image, mask


def read_mask(ref: Ref) -> Array:
    """Read a ground truth at its own size: bool (height, width).

    Pixels from ``MASK_THRESHOLD`` on belong to the object; in a mask of 0 and 1, the ones do.

    Raises:
        DataError: the file is missing or damaged; the message names it.
    """
    with open_picture(ref) as picture:
        levels = mask_levels(picture)
    return np.asarray(levels >= (1 if levels.max() <= 1 else MASK_THRESHOLD))


def upright_size(ref: Ref, content: bytes) -> tuple[int, int]:
    """Height and width of an image after its Exif rotation, from its header alone.

    Raises:
        DataError: ``content`` is no JPEG or PNG, or too large; the message names the file.
    """
    with open_picture(ref, content) as picture:
        width, height = picture.size
        turned = exif_orientation(picture) >= 5  # 5 to 8 swap the sides
    return (width, height) if turned else (height, width)


def verify_files(items: Iterable[Item]) -> None:
    """Verify every file once, on all cores, before training depends on it.

    Checks the header, the size, the end of the file, and a zip member's checksum; a file without
    its format's end marker is decoded to see whether it is truncated.

    Raises:
        DataError: a file is missing, truncated or no image; for the first such item.
    """
    bad: dict[int, DataError] = {}

    def verify_item(numbered: tuple[int, Item]) -> None:
        number, item = numbered
        try:
            for ref in (item.image, item.mask):
                _verify_file(ref)
        except DataError as error:
            bad[number] = error

    for _ in in_threads(verify_item, list(enumerate(items))):
        pass
    if bad:
        raise bad[min(bad)]


def _verify_file(ref: Ref) -> None:
    content = ref.read()
    with open_picture(ref, content) as picture:
        if not content.endswith((_JPEG_END, _PNG_END)):
            load_fast(picture)


def in_threads(function: Callable[[T], R], values: list[T]) -> Iterator[tuple[int, R]]:
    """Yield ``(index, function(value))`` in the order of completion, from up to eight threads.

    Pillow, hashing and reading release the interpreter lock, so threads use all cores. An exception
    here or in the consumer (Ctrl-C) cancels what has not started. Pillow's warnings about odd but
    readable files are suppressed here, for all threads at once: filters belong to the process.
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
