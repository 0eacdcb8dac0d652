"""Where the bytes of a picture lie: in a file, or in a member of a zip that stays a zip."""

from __future__ import annotations

import os
import stat
import struct
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, TypeAlias

from saldiag.core.errors import DataError
from saldiag.core.wording import printable

LARGEST_FILE = 512 * 2**20
"""Bytes; a picture of more is refused: it is no photograph, and a zip may claim any size."""

_LOCAL_HEADER = struct.Struct("<4s5H3I2H")  # APPNOTE.TXT 4.3.7, PKWARE 2022
_ENCRYPTED = 0x1

FOLDER = "Imgs"
"""Folder of the pairs in MSRA10K's layout."""


@dataclass(frozen=True)
class FileRef:
    """A file."""

    path: Path

    def __str__(self) -> str:
        return printable(self.path)

    def read(self) -> bytes:
        """The file's bytes.

        Raises:
            DataError: it is gone, not a file, unreadable, or larger than ``LARGEST_FILE``.
        """
        try:
            with self.path.open("rb") as stream:
                status = os.fstat(stream.fileno())
                if not stat.S_ISREG(status.st_mode):
                    raise DataError(f"{self}: not a regular file")
                if status.st_size > LARGEST_FILE:
                    raise DataError(f"{self}: {status.st_size} bytes are too many for a picture")
                return stream.read()
        except OSError as error:
            raise DataError(f"{self}: cannot be read ({reason(error)})") from error


@dataclass(frozen=True)
class MemberRef:
    """A member of a zip, as the archive's directory describes it."""

    archive: Path
    name: str
    offset: int
    compressed_size: int
    size: int
    method: int
    flags: int
    checksum: int

    @classmethod
    def of(cls, archive: Path, info: zipfile.ZipInfo) -> MemberRef:
        """The reference to a member that ``zipfile`` listed."""
        return cls(
            archive,
            info.filename,
            info.header_offset,
            info.compress_size,
            info.file_size,
            info.compress_type,
            info.flag_bits,
            info.CRC,
        )

    def __str__(self) -> str:
        return f"{printable(self.archive)}:{printable(self.name)}"

    def read(self) -> bytes:
        """The member's bytes, inflated and checked against the archive's CRC-32.

        Opens the archive anew, so that any number of threads may read at once.

        Raises:
            DataError: the member is damaged, encrypted, too large or of an unknown compression.
        """
        if max(self.size, self.compressed_size) > LARGEST_FILE:
            raise DataError(f"{self}: {self.size} bytes are too many for a picture")
        if self.flags & _ENCRYPTED:
            raise DataError(f"{self}: is encrypted: make the zip without a password")
        try:
            with self.archive.open("rb") as stream:
                raw = self._raw(stream)
        except OSError as error:
            raise DataError(f"{self}: cannot be read ({reason(error)})") from error
        return self._checked(raw)

    def _raw(self, stream: BinaryIO) -> bytes:
        stream.seek(self.offset)
        header = stream.read(_LOCAL_HEADER.size)
        if len(header) < _LOCAL_HEADER.size or not header.startswith(b"PK\x03\x04"):
            raise DataError(f"{self}: damaged (its header is not where the directory says)")
        *_, name_length, extra_length = _LOCAL_HEADER.unpack(header)
        stream.seek(name_length + extra_length, os.SEEK_CUR)
        return stream.read(self.compressed_size)

    def _checked(self, raw: bytes) -> bytes:
        if self.method == zipfile.ZIP_DEFLATED:
            try:
                # One byte more than promised is enough to see that the size is a lie.
                raw = zlib.decompressobj(-zlib.MAX_WBITS).decompress(raw, self.size + 1)
            except zlib.error as error:
                raise DataError(f"{self}: damaged ({error})") from error
        elif self.method != zipfile.ZIP_STORED:
            raise DataError(
                f"{self}: compression method {self.method} is not supported: "
                "zip again with deflate or without compression"
            )
        if len(raw) != self.size or zlib.crc32(raw) != self.checksum:
            raise DataError(f"{self}: damaged (size or CRC-32 differ from the directory's)")
        return raw


Ref: TypeAlias = FileRef | MemberRef


@dataclass(frozen=True)
class Item:
    """One pair. ``stem`` is the file name without suffix, undecodable bytes escaped."""

    stem: str
    image: Ref
    mask: Ref


def reason(error: OSError) -> str:
    """What the system says of ``error``, without the path."""
    return error.strerror or printable(str(error))
