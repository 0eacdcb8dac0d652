"""The input pipeline: pairs as a ``tf.data.Dataset`` of batches.

Files are read and decoded by TensorFlow operations alone: no Python runs while training. From a
zip, whose members TensorFlow cannot read, Python reads the bytes of a few pairs at a time, and
everything after that is the same; the zip is never unpacked.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
import tensorflow as tf

from saldiag.core.errors import DataError
from saldiag.image_masks.decode import MASK_THRESHOLD, MAX_PIXELS, verify_files
from saldiag.image_masks.jpeg_orientation import jpeg_orientation, turn_upright
from saldiag.image_masks.storage import FileRef, Item, Ref

Array = np.ndarray[Any, Any]
Tensor = Any
BatchSource: TypeAlias = Callable[[Tensor, int], tf.data.Dataset]
"""From item numbers (int64, in order) and a batch size to batches of (image, mask) as uint8."""

INPUT_RANGE = (-1.0, 1.0)
"""Range of the images, that of MobileNetV2's ImageNet weights (x / 127.5 - 1)."""

_MAX_CACHE_SHARE = 0.25
"""Share of the available memory that ``cache="auto"`` may use; the model needs the rest."""
_PAIRS_PER_READ = 8
"""Pairs read from a zip at a time: about 0.8 MB of MSRA10K."""
_PREFETCHED_BATCHES = 2
"""Batches prepared ahead: enough to hide decoding behind a training step."""
_PARALLEL_READS = 2
"""Concurrent reads from a zip: while one waits for the disk, another decompresses."""
_UNDECODABLE_REASON = f"damaged image, or larger than {MAX_PIXELS} pixels"
_MAX_BILINEAR_REDUCTION = 2.5
"""Reduction from which on bilinear's 2 x 2 pixels miss too much and a wider kernel is used."""


def make_dataset(
    items: Sequence[Item],
    image_size: int,
    batch_size: int,
    *,
    shuffle_seed: int | None = None,
    first_epoch: int = 0,
    repeat: bool = False,
    cache: bool | Literal["auto"] = "auto",
    drop_remainder: bool = False,
) -> tf.data.Dataset:
    """Batches of (image float32 (B, S, S, 3) in [-1, 1], mask float32 (B, S, S, 1) in {0, 1}).

    The order of epoch e depends only on ``shuffle_seed`` and e, not on the global seed. With
    ``repeat`` the epochs from ``first_epoch`` on follow each other and no batch holds items of two
    epochs, so a resumed training sees the same batches as an uninterrupted one. Without it, every
    pass is epoch ``first_epoch``. The dataset knows its cardinality.

    Args:
        items: the pairs.
        image_size: side S in pixels.
        batch_size: items per batch.
        shuffle_seed: seed of the order; None keeps the order of ``items``.
        first_epoch: number of the first epoch.
        repeat: never end.
        cache: decode everything now and keep it as bytes in memory (4 S² bytes per item); "auto"
            does so if that is at most a quarter of the available memory. Otherwise every file is
            verified now and decoded again in every epoch.
        drop_remainder: drop a last batch that is not full.

    Raises:
        DataError: a file is missing or damaged, or there are too few items for one batch.
    """
    batches = len(items) // batch_size if drop_remainder else -(-len(items) // batch_size)
    if not batches:
        raise DataError(
            f"{len(items)} pairs are too few for a batch of {batch_size}: use a larger subset"
        )
    if cache == "auto":
        cache = _fits_in_memory(len(items), image_size)
    source = _from_memory(items, image_size) if cache else _from_storage(items, image_size)

    def epoch_batches(number: Tensor) -> tf.data.Dataset:
        order = _epoch_order(len(items), shuffle_seed, number)
        return source(order, batch_size).take(batches)

    last = tf.int64.max if repeat else first_epoch + 1
    dataset = tf.data.Dataset.range(first_epoch, last).flat_map(epoch_batches)
    cardinality = tf.data.INFINITE_CARDINALITY if repeat else batches
    dataset = dataset.apply(tf.data.experimental.assert_cardinality(cardinality))
    return dataset.map(_scale_batch, tf.data.AUTOTUNE).prefetch(_PREFETCHED_BATCHES)


def load_arrays(items: Sequence[Item], image_size: int) -> tuple[Array, Array]:
    """Images float32 (N, S, S, 3) in [-1, 1] and masks float32 (N, S, S, 1) in {0, 1}, in order.

    Raises:
        DataError: a file is missing or damaged; the message names it.
    """
    images, masks = _decode_all(items, image_size)
    return images.astype(np.float32) / 127.5 - 1.0, masks.astype(np.float32)


def read_image(ref: Ref, content: bytes, image_size: int) -> Array:
    """One image float32 (S, S, 3) in [-1, 1], decoded and resized exactly as for training.

    Raises:
        DataError: it cannot be decoded; the message names it.
    """
    try:
        image = _decode_image(tf.constant(content), image_size)
    except tf.errors.OpError as error:
        raise DataError(f"{ref}: {_UNDECODABLE_REASON}") from error
    return np.asarray(image, np.float32) / 127.5 - 1.0


def _epoch_order(count: int, seed: int | None, epoch_batches: Tensor) -> Tensor:
    """Item numbers (count,) in the order of an epoch; a function of the arguments alone."""
    numbers = tf.range(count, dtype=tf.int64)
    if seed is None:
        return numbers
    return tf.random.experimental.stateless_shuffle(
        numbers, tf.stack([tf.cast(seed, tf.int64), epoch_batches])
    )


def _scale_batch(image: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    return tf.cast(image, tf.float32) / 127.5 - 1.0, tf.cast(mask, tf.float32)


def _from_memory(items: Sequence[Item], image_size: int) -> BatchSource:
    # GPU memory is reserved for the model.
    with tf.device("CPU"):
        images, masks = (tf.constant(array) for array in _decode_all(items, image_size))

    def source(order: Tensor, batch_size: int) -> tf.data.Dataset:
        batches = tf.data.Dataset.from_tensor_slices(order).batch(batch_size)
        return batches.map(lambda chosen: (tf.gather(images, chosen), tf.gather(masks, chosen)))

    return source


def _from_storage(items: Sequence[Item], image_size: int) -> BatchSource:
    verify_files(items)
    contents = _file_contents(items)

    def source(order: Tensor, batch_size: int) -> tf.data.Dataset:
        decoded = contents(order).map(
            lambda image, mask: (_decode_image(image, image_size), _decode_mask(mask, image_size)),
            tf.data.AUTOTUNE,
        )
        return decoded.batch(batch_size)

    return source


def _decode_all(items: Sequence[Item], image_size: int) -> tuple[Array, Array]:
    """Images uint8 (N, S, S, 3) in [0, 255] and masks uint8 (N, S, S, 1) in {0, 1}."""
    images = np.empty((len(items), image_size, image_size, 3), np.uint8)
    masks = np.empty((len(items), image_size, image_size, 1), np.uint8)
    source = _from_storage(items, image_size)
    at = 0
    try:
        for image, mask in source(tf.range(len(items), dtype=tf.int64), _PAIRS_PER_READ):
            here = slice(at, at + len(image))
            images[here], masks[here] = image, mask
            at = here.stop
    except tf.errors.OpError as error:
        raise find_damage(items) or DataError(
            "a file changed while it was being read: run the command again"
        ) from error
    return images, masks


def find_damage(items: Sequence[Item]) -> DataError | None:
    """An error that names the first file that cannot be decoded; None if all can.

    Call this after a ``tf.errors.OpError`` in training: an image may be damaged in the middle,
    which verification does not detect, or change after it was verified.
    """
    for item in items:
        for ref, decode in ((item.image, _decode_image), (item.mask, _decode_mask)):
            try:
                decode(tf.constant(ref.read()), 32)
            except DataError as error:
                return error
            except tf.errors.OpError:
                return DataError(f"{ref}: {_UNDECODABLE_REASON}")
    return None


def _file_contents(items: Sequence[Item]) -> Callable[[Tensor], tf.data.Dataset]:
    """A function from item numbers to a dataset of (image file, mask file) as byte strings."""
    if all(isinstance(ref, FileRef) for item in items for ref in (item.image, item.mask)):
        paths = tf.constant([[_path_bytes(item.image), _path_bytes(item.mask)] for item in items])

        def from_files(order: Tensor) -> tf.data.Dataset:
            pairs = tf.data.Dataset.from_tensor_slices(tf.gather(paths, order))
            return pairs.map(
                lambda pair: (tf.io.read_file(pair[0]), tf.io.read_file(pair[1])),
                tf.data.AUTOTUNE,
            )

        return from_files

    def read_pairs(numbers: Array) -> tuple[Array, Array]:
        chosen = [items[number] for number in numbers]
        images = np.array([item.image.read() for item in chosen], dtype=object)
        return images, np.array([item.mask.read() for item in chosen], dtype=object)

    def read_some(some: Tensor) -> tuple[Tensor, Tensor]:
        images, masks = tf.numpy_function(read_pairs, (some,), (tf.string, tf.string))
        return tf.ensure_shape(images, (None,)), tf.ensure_shape(masks, (None,))

    def from_python(order: Tensor) -> tf.data.Dataset:
        numbers = tf.data.Dataset.from_tensor_slices(order).batch(_PAIRS_PER_READ)
        return numbers.map(read_some, _PARALLEL_READS).unbatch()

    return from_python


def _path_bytes(ref: Any) -> bytes:
    return os.fsencode(ref.path)  # file names are bytes, and need not be UTF-8


@tf.autograph.experimental.do_not_convert  # nothing to convert; tracing is faster
def _decode_image(content: Tensor, size: int) -> Tensor:
    """Decode one image to uint8 (size, size, 3), upright.

    A JPEG much larger than ``size`` is decoded at 1/2, 1/4 or 1/8 (libjpeg's scaled DCT, a clean
    low-pass filter that also saves time), after which bilinear shrinks sides of similar length by
    less than two. A larger reduction gets a kernel that covers all pixels: bilinear reads only four
    of them and would miss thin lines and textures.
    """
    height, width = _checked_extent(content)
    excess = tf.minimum(height, width) // size
    halvings = tf.reduce_sum(tf.cast(excess >= (2, 4, 8), tf.int32))
    is_jpeg = tf.equal(tf.strings.substr(content, 0, 2), b"\xff\xd8")
    # Pillow and libjpeg's own tools use INTEGER_ACCURATE; the faster method differs visibly.
    picture = tf.switch_case(
        tf.where(is_jpeg, halvings, 0),
        [
            lambda ratio=ratio: tf.io.decode_jpeg(
                content, channels=3, ratio=ratio, dct_method="INTEGER_ACCURATE"
            )
            for ratio in (1, 2, 4, 8)
        ],
    )
    reduction = tf.reduce_max(tf.shape(picture)[:2]) / size
    small = tf.cond(
        reduction < _MAX_BILINEAR_REDUCTION,
        lambda: tf.image.resize(picture, (size, size)),
        lambda: tf.image.resize(picture, (size, size), antialias=True),
    )
    # Bytes, cached or not: a quarter of the memory of floats, and the same values in both cases.
    rounded = tf.cast(tf.clip_by_value(tf.round(small), 0.0, 255.0), tf.uint8)
    return turn_upright(tf.ensure_shape(rounded, (size, size, 3)), jpeg_orientation(content))


@tf.autograph.experimental.do_not_convert  # nothing to convert; tracing is faster
def _decode_mask(content: Tensor, size: int) -> Tensor:
    """Decode one mask to uint8 (size, size, 1) of 0 and 1, at the nearest pixels."""
    with tf.control_dependencies(_checked_extent(content)):
        levels = tf.io.decode_png(content, channels=1)
    small = tf.image.resize(levels, (size, size), method="nearest")
    return tf.ensure_shape(tf.cast(small >= MASK_THRESHOLD, tf.uint8), (size, size, 1))


def _checked_extent(content: Tensor) -> tuple[Tensor, Tensor]:
    """Height and width from the file's header; fails if decoding would exhaust memory."""

    def png_sides() -> Tensor:  # PNG specification (ISO/IEC 15948), 11.2.2: width, height
        sides = tf.io.decode_raw(tf.strings.substr(content, 16, 8), tf.int32, little_endian=False)
        return tf.reverse(sides, (0,))

    is_png = tf.equal(tf.strings.substr(content, 0, 8), b"\x89PNG\r\n\x1a\n")
    shape = tf.cond(is_png, png_sides, lambda: tf.image.extract_jpeg_shape(content)[:2])
    pixels = tf.reduce_prod(tf.cast(shape, tf.int64))
    sane = tf.debugging.Assert((pixels > 0) & (pixels <= MAX_PIXELS), [pixels])
    with tf.control_dependencies([sane] if sane is not None else []):
        shape = tf.identity(shape)
    return shape[0], shape[1]


def _fits_in_memory(count: int, image_size: int) -> bool:
    available = available_memory()
    needed = 4 * count * image_size**2  # three bytes of image and one of mask a pixel
    return available is not None and needed <= _MAX_CACHE_SHARE * available


def available_memory() -> int | None:
    """Bytes of memory that this process may still use; None if the system does not report it.

    The smaller one of the machine's (Linux: MemAvailable) and the control group's (containers).
    """
    found = [_machine_memory(), _group_memory()]
    known = [value for value in found if value is not None]
    return min(known, default=None)


def _machine_memory() -> int | None:
    try:
        for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except (OSError, ValueError):
        pass
    try:  # macOS reports only the installed memory; half of it is a safe guess
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
    except (AttributeError, OSError, ValueError):
        return None


def _group_memory() -> int | None:
    group = Path("/sys/fs/cgroup")
    try:  # version 2 only; "max" means no limit, and is no number
        limit = int((group / "memory.max").read_text(encoding="ascii"))
        return max(limit - int((group / "memory.current").read_text(encoding="ascii")), 0)
    except (OSError, ValueError):
        return None
