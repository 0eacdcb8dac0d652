"""Exif orientation of a JPEG in TensorFlow operations, to run inside ``tf.data``.

``decode_jpeg`` ignores the orientation that cameras write (JEITA CP-3451, Exif 2.3, 4.6.4 A), and
Python code would hold the interpreter lock.
"""

from __future__ import annotations

from typing import Any

import tensorflow as tf

Tensor = Any

_SEARCHED_BYTES = 2**18
"""Bytes at the start of the file that are searched: four segments of the largest size."""
_PADDING_BYTES = 16
"""Zero bytes appended to them, with which reading a header at the very end succeeds."""
_ORIENTATION_TAG = 0x0112
_TYPE_SHORT = 3
"""TIFF's type number of 16-bit integers."""


def jpeg_orientation(content: Tensor) -> Tensor:
    """Exif orientation 1 to 8 of a JPEG file (scalar string), as a scalar int32.

    1, which is upright, for anything without a readable Exif tag. An orientation in XMP alone is
    ignored, as other decoders do.
    """
    head = tf.strings.join([tf.strings.substr(content, 0, _SEARCHED_BYTES), b"\0" * _PADDING_BYTES])
    start = _find_exif(head)
    return tf.cond(start > 0, lambda: _orientation_tag(head, start), lambda: tf.constant(1))


def turn_upright(image: Tensor, value: Tensor) -> Tensor:
    """Rotate and flip a square ``image`` (S, S, channels) of orientation ``value`` upright."""
    swapped = tf.cond(value >= 5, lambda: tf.transpose(image, (1, 0, 2)), lambda: image)
    down = tf.reduce_any(tf.equal(value, (3, 4, 7, 8)))
    across = tf.reduce_any(tf.equal(value, (2, 3, 6, 7)))
    flipped = tf.cond(down, lambda: tf.reverse(swapped, (0,)), lambda: swapped)
    return tf.cond(across, lambda: tf.reverse(flipped, (1,)), lambda: flipped)


def _read_bytes(text: Tensor, start: Tensor, length: int) -> Tensor:
    return tf.cast(tf.io.decode_raw(tf.strings.substr(text, start, length), tf.uint8), tf.int64)


def _find_exif(head: Tensor) -> Tensor:
    """Position of the TIFF header after ``Exif``, or 0; walks over the metadata segments."""
    last = tf.strings.length(head) - _PADDING_BYTES

    def may_continue(position: Tensor, found: Tensor) -> Tensor:
        return (position < last) & (position > 0) & tf.equal(found, 0)

    def next_segment(position: Tensor, found: Tensor) -> tuple[Tensor, Tensor]:
        header = tf.cast(_read_bytes(head, position, 4), tf.int32)
        length = header[2] * 256 + header[3]
        # Exif comes first (4.5.5), in practice after other APPn segments or comments; tables end
        # the walk.
        metadata = ((header[1] >= 0xE0) & (header[1] <= 0xEF)) | tf.equal(header[1], 0xFE)
        valid = tf.equal(header[0], 0xFF) & (length >= 2) & metadata
        name = tf.strings.substr(head, position + 4, 6)
        exif = valid & tf.equal(header[1], 0xE1) & tf.equal(name, b"Exif\0\0")
        found = tf.where(exif, position + 10, 0)
        return tf.where(valid, position + 2 + length, 0), found

    is_jpeg = tf.equal(tf.strings.substr(head, 0, 2), b"\xff\xd8")
    start = (tf.where(is_jpeg, 2, 0), tf.constant(0))
    return tf.while_loop(may_continue, next_segment, start)[1]


def _orientation_tag(head: Tensor, start: Tensor) -> Tensor:
    """Orientation in the TIFF structure at ``start`` (TIFF 6.0, 1992: IFD 0, 12-byte entries)."""
    # A segment holds at most 64 KB; the padding makes every read of a fixed size succeed.
    tiff = tf.pad(_read_bytes(head, start, 2**16), ((0, _PADDING_BYTES),))
    room = tf.size(tiff, tf.int64) - _PADDING_BYTES
    little = tf.equal(tiff[0], ord("I"))

    def as_number(raw: Tensor, width: int) -> Tensor:
        """The last axis of ``raw``, ``width`` bytes, as one number in the file's byte order."""
        ordered = tf.cond(little, lambda: tf.reverse(raw, (-1,)), lambda: raw)
        weights = [256**power for power in reversed(range(width))]
        return tf.reduce_sum(ordered * tf.constant(weights, tf.int64), axis=-1)

    directory = tf.minimum(as_number(tiff[4:8], 4), room)
    count = as_number(tiff[directory : directory + 2], 2)
    raw = tiff[directory + 2 : tf.minimum(directory + 2 + 12 * count, room)]
    entries = tf.reshape(raw[: tf.size(raw) // 12 * 12], (-1, 12))
    short = tf.equal(as_number(entries[:, 2:4], 2), _TYPE_SHORT)
    value = tf.where(short, as_number(entries[:, 8:10], 2), as_number(entries[:, 8:12], 4))
    wanted = tf.equal(as_number(entries[:, 0:2], 2), _ORIENTATION_TAG) & (value >= 1) & (value <= 8)
    best = tf.reduce_max(tf.where(wanted, value, 1))
    return tf.cast(tf.maximum(best, 1), tf.int32)  # the maximum of no entry is the lowest int64
