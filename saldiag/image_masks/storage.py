"""Where the bytes of an image are stored: in a file, or in a member of a zip."""

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

MAX_FILE_BYTES = 512 * 2**20
"""Largest file in bytes: no photograph is larger, and a zip may claim any size."""

_LOCAL_HEADER = struct.Struct("<4s5H3I2H")  # APPNOTE.TXT 4.3.7, PKWARE 2022
_ENCRYPTED_FLAG = 0x1

PAIRS_FOLDER = "Imgs"
"""Name of the folder with the pairs in MSRA10K's layout."""


@dataclass(frozen=True)
class FileRef:
    """An image stored in a file."""

    path: Path
    """The file."""

    def __str__(self) -> str:
        return printable(self.path)

    def read(self) -> bytes:
        """The file's bytes.

        Raises:
            DataError: it does not exist, is no regular file, is unreadable, or is larger than
                ``MAX_FILE_BYTES``.
        """
        try:
            with self.path.open("rb") as stream:
                status = os.fstat(stream.fileno())
                if not stat.S_ISREG(status.st_mode):
                    raise DataError(f"{self}: not a regular file")
                if status.st_size > MAX_FILE_BYTES:
                    raise DataError(f"{self}: {status.st_size} bytes, too many for an image")
                return stream.read()
        except OSError as error:
            raise DataError(f"{self}: cannot be read ({os_error_reason(error)})") from error


@dataclass(frozen=True)
class MemberRef:
    """An image stored in a member of a zip, as the zip's central directory describes it."""

    archive: Path
    """The zip."""
    name: str
    """Name of the member."""
    offset: int
    """Offset of the member's local header, in bytes."""
    compressed_size: int
    """Compressed size in bytes."""
    size: int
    """Uncompressed size in bytes."""
    method: int
    """Compression method, ``zipfile.ZIP_STORED`` or ``zipfile.ZIP_DEFLATED``."""
    flags: int
    """General purpose flags; bit 0 marks encryption."""
    checksum: int
    """CRC-32 of the uncompressed bytes."""

    @classmethod
    def from_zip_info(cls, archive: Path, info: zipfile.ZipInfo) -> MemberRef:
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
        """The member's bytes, decompressed and checked against their CRC-32.

        Opens the zip each time, so any number of threads can read in parallel.

        Raises:
            DataError: the member is damaged, encrypted, too large, or has an unsupported
                compression method.
        """
        if max(self.size, self.compressed_size) > MAX_FILE_BYTES:
            raise DataError(f"{self}: {self.size} bytes, too many for an image")
        if self.flags & _ENCRYPTED_FLAG:
            raise DataError(f"{self}: is encrypted: create the zip without a password")
        try:
            with self.archive.open("rb") as stream:
                raw = self._read_raw(stream)
        except OSError as error:
            raise DataError(f"{self}: cannot be read ({os_error_reason(error)})") from error
        return self._decompress_checked(raw)

    def _read_raw(self, stream: BinaryIO) -> bytes:
        stream.seek(self.offset)
        header = stream.read(_LOCAL_HEADER.size)
        if len(header) < _LOCAL_HEADER.size or not header.startswith(b"PK\x03\x04"):
            raise DataError(f"{self}: damaged (no header at the offset in the directory)")
        *_, name_length, extra_length = _LOCAL_HEADER.unpack(header)
        stream.seek(name_length + extra_length, os.SEEK_CUR)
        return stream.read(self.compressed_size)

    def _decompress_checked(self, raw: bytes) -> bytes:
        if self.method == zipfile.ZIP_DEFLATED:
            try:
                # One byte more than announced is enough to detect a wrong size.
                raw = zlib.decompressobj(-zlib.MAX_WBITS).decompress(raw, self.size + 1)
            except zlib.error as error:
                raise DataError(f"{self}: damaged ({error})") from error
        elif self.method != zipfile.ZIP_STORED:
            raise DataError(
                f"{self}: compression method {self.method} is not supported: "
                "create the zip with deflate or without compression"
            )
        if len(raw) != self.size or zlib.crc32(raw) != self.checksum:
            raise DataError(f"{self}: damaged (size or CRC-32 differ from the directory's)")
        return raw


Ref: TypeAlias = FileRef | MemberRef


@dataclass(frozen=True)
class Item:
    """One pair of image and mask."""

    stem: str
    """File name without suffix, undecodable bytes escaped."""
    image: Ref
    """The image."""
    mask: Ref
    """The mask."""


def os_error_reason(error: OSError) -> str:
    """The operating system's message of an error, without the path."""
    return error.strerror or printable(str(error))
