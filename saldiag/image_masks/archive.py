"""``saldiag data fetch``: download the MSRA10K archive, resume broken downloads, verify it.

MSRA10K's authors publish no checksum, so the first complete download is verified by its contents
(every member's CRC-32, and the number of pairs), and its SHA-256 is recorded beside it for later.
"""

from __future__ import annotations

import hashlib
import shutil
import time
import zipfile
from dataclasses import dataclass
from pathlib import Path

import requests

from saldiag.core.errors import DataError
from saldiag.core.files.jsonio import read_json, write_json, write_text
from saldiag.core.wording import printable
from saldiag.image_masks.msra10k import list_pairs
from saldiag.image_masks.storage import os_error_reason
from saldiag.progress import CountReporter, report_no_count

URL = "http://mftp.mmcheng.net/Data/MSRA10K_Imgs_GT.zip"
"""The address on the data set's page (mmcheng.net/msra10k), 195 MB; the server has no https."""
ARCHIVE_NAME = "MSRA10K_Imgs_GT.zip"
"""File name of the archive."""
PAIR_COUNT = 10_000
"""Number of pairs in the archive."""

_CHUNK_BYTES = 2**14
"""Bytes per chunk; an unfinished chunk is lost when the connection breaks."""
_TIMEOUT_SECONDS = (10.0, 60.0)
"""Seconds to connect, and between two packets."""
_MAX_ATTEMPTS = 5
"""Connections per call."""
_PAUSE_SECONDS = 2.0
"""Seconds between two connections."""


class _BrokenOffError(Exception):
    """The connection ended early; the bytes received so far are kept."""


@dataclass(frozen=True)
class _RemoteFile:
    """The version of the remote file that a ``.part`` belongs to."""

    url: str
    """Address of the file."""
    validator: str
    """Its strong ETag or Last-Modified date, for If-Range."""
    length: int
    """Its length in bytes."""


def fetch_archive(
    destination: Path,
    url: str = URL,
    sha256: str | None = None,
    progress: CountReporter = report_no_count,
    *,
    pairs: int | None = PAIR_COUNT,
    pause: float = _PAUSE_SECONDS,
) -> Path:
    """Download the archive, or verify an existing one; returns its path.

    An unfinished download is kept as ``NAME.part`` and resumed, by this call and the next one, as
    long as the server has the same version. The SHA-256 is recorded in ``NAME.sha256`` and
    compared from then on.

    Args:
        destination: a file (``….zip``, or an existing one), or a directory, existing or not, to
            put ``MSRA10K_Imgs_GT.zip`` into.
        url: address of the archive.
        sha256: expected checksum; None uses the recorded one, if any.
        progress: called with the bytes done and the total.
        pairs: number of pairs that the archive must hold; None accepts any number but 0.
        pause: seconds to wait before resuming a broken connection.

    Raises:
        DataError: the server cannot be reached or reports an error, the disk is full, or the file
            is not the expected one. Existing files are kept.
    """
    target = _archive_path(destination)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.exists():
            _verify_archive(target, target, sha256, pairs)
        else:
            part = target.with_name(f"{target.name}.part")
            _download_rest(part, url, target, progress, pause)
            _accept_download(part, target, sha256, pairs)
    except OSError as error:
        raise DataError(
            f"{printable(target)}: cannot be written ({os_error_reason(error)}): "
            "free disk space or choose another destination"
        ) from error
    return target


def _archive_path(destination: Path) -> Path:
    is_file = destination.is_file() or destination.suffix.lower() == ".zip"
    return destination if is_file and not destination.is_dir() else destination / ARCHIVE_NAME


def _accept_download(part: Path, target: Path, sha256: str | None, pairs: int | None) -> None:
    """Rename the finished ``.part`` to the archive; delete it if it fails verification."""
    try:
        _verify_archive(part, target, sha256, pairs)
    except DataError:
        _discard_part(part)
        raise
    part.replace(target)
    _description_path(part).unlink(missing_ok=True)


def _verify_archive(path: Path, target: Path, sha256: str | None, pairs: int | None) -> None:
    """Verify ``path``, which is or becomes ``target``, by checksum or contents; record its sum."""
    record = target.with_name(f"{target.name}.sha256")
    found = _sha256_of(path)
    recorded = record.read_text(encoding="ascii").split()[:1] if record.is_file() else []
    expected = sha256.lower() if sha256 else next(iter(recorded), None)
    if expected not in {None, found}:
        source = "given" if sha256 else f"recorded in {printable(record)}"
        raise DataError(
            f"{printable(target)}: its SHA-256 is {found}, not {expected} as {source}: "
            "delete the file to download it again, or the record to accept the change"
        )
    if recorded != [found]:
        _check_contents(path, target, pairs)
        write_text(record, f"{found}  {target.name}\n")


def _check_contents(path: Path, target: Path, pairs: int | None) -> None:
    try:
        with zipfile.ZipFile(path) as archive:
            bad = archive.testzip()
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError) as error:
        raise DataError(
            f"{printable(target)}: the server sent no complete zip ({printable(str(error))})"
        ) from error
    if bad is not None:
        raise DataError(
            f"{printable(target)}: damaged member {printable(bad)}: "
            "delete the file and download it again"
        )
    count = len(list_pairs(path).items)
    if pairs is not None and count != pairs:
        raise DataError(f"{printable(target)}: holds {count} pairs instead of {pairs}")


def _sha256_of(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _download_rest(
    part: Path, url: str, target: Path, progress: CountReporter, pause: float
) -> None:
    """Download ``part`` to its full length, with up to ``_MAX_ATTEMPTS`` connections."""
    for attempt in range(_MAX_ATTEMPTS):
        if attempt:
            time.sleep(pause)
        try:
            _transfer_once(part, url, progress)
        except _BrokenOffError as error:
            have = part.stat().st_size if part.exists() else 0
            broken = (
                f"{printable(url)}: the connection broke at {_format_megabytes(have)} ({error})"
            )
        except requests.RequestException as error:
            raise _unreachable_error(url, target, error) from error
        else:
            return
    raise DataError(f"{broken}: run the command again to resume")


def _unreachable_error(url: str, target: Path, error: requests.RequestException) -> DataError:
    kind = "no answer in time" if isinstance(error, requests.Timeout) else _innermost_reason(error)
    return DataError(
        f"{printable(url)}: cannot be reached ({kind}): download it elsewhere, "
        f"copy it to {printable(target)} and run the command again to verify it"
    )


def _innermost_reason(error: BaseException) -> str:
    """The operating system's message below the layers of the HTTP library."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, OSError) and seen.strerror:
            return seen.strerror
        cause = getattr(seen, "reason", None) or seen.__cause__ or seen.__context__
        seen = cause if isinstance(cause, BaseException) else None
    return type(error).__name__


def _transfer_once(part: Path, url: str, progress: CountReporter) -> None:
    known = _known_remote(part, url)
    have = part.stat().st_size if known else 0
    if known and have == known.length:
        return
    headers = {"Accept-Encoding": "identity"}
    if known:
        # If-Range (RFC 9110, 13.1.5): of a changed file the server sends everything, not the rest.
        headers |= {"Range": f"bytes={have}-", "If-Range": known.validator}
    with requests.get(url, headers=headers, stream=True, timeout=_TIMEOUT_SECONDS) as response:
        start = _response_offset(response, part, have, known)
        length = _total_length(response, start)
        _check_space(part, length, start)
        if not start:
            _write_description(part, url, response, length)
        _save_chunks(response, part, start, length, progress)


def _response_offset(
    response: requests.Response, part: Path, have: int, known: _RemoteFile | None
) -> int:
    """The offset in the file, in bytes, at which the response begins."""
    if response.status_code == requests.codes.partial_content and known:
        span = f"bytes {have}-{known.length - 1}/{known.length}"
        if response.headers.get("Content-Range") == span:
            return have
        _discard_part(part)
        raise _BrokenOffError("the server sent a different range than requested")
    if response.status_code == requests.codes.ok:
        return 0
    raise DataError(
        f"{printable(response.url)}: the server answers {response.status_code} "
        f"{printable(response.reason or '')}: check the address, or download the file by hand"
    )


def _total_length(response: requests.Response, start: int) -> int | None:
    text = response.headers.get("Content-Length", "")
    return start + int(text) if text.isdecimal() else None


def _check_space(part: Path, length: int | None, start: int) -> None:
    free = shutil.disk_usage(part.parent).free
    if length is not None and length - start > free:
        raise DataError(
            f"{printable(part.parent)}: {_format_megabytes(length - start)} are needed and "
            f"{_format_megabytes(free)} are free: free disk space or choose another destination"
        )


def _save_chunks(
    response: requests.Response, part: Path, start: int, length: int | None, progress: CountReporter
) -> None:
    done = start
    with part.open("ab" if start else "wb") as stream:
        try:
            for chunk in response.iter_content(_CHUNK_BYTES):
                stream.write(chunk)
                done += len(chunk)
                progress(done, length)
        except requests.RequestException as error:
            # Includes a body shorter than Content-Length: urllib3 2 raises IncompleteRead.
            raise _BrokenOffError(type(error).__name__) from error


def _description_path(part: Path) -> Path:
    return part.with_name(f"{part.name}.json")


def _write_description(
    part: Path, url: str, response: requests.Response, length: int | None
) -> None:
    """Record the version being downloaded, if it is known; a weak ETag is useless for ranges."""
    _discard_part(part)
    etag = response.headers.get("ETag", "")
    validator = response.headers.get("Last-Modified") if etag.startswith("W/") else etag
    validator = validator or response.headers.get("Last-Modified")
    if validator and length:
        write_json(_description_path(part), _RemoteFile(url, validator, length))


def _known_remote(part: Path, url: str) -> _RemoteFile | None:
    """The version of the ``.part``; None if there is nothing to resume."""
    try:
        value = read_json(_description_path(part))
        known = _RemoteFile(str(value["url"]), str(value["validator"]), int(value["length"]))
        usable = known.url == url and 0 < part.stat().st_size <= known.length
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return known if usable else None


def _discard_part(part: Path) -> None:
    part.unlink(missing_ok=True)
    _description_path(part).unlink(missing_ok=True)


def _format_megabytes(count: int) -> str:
    return f"{count / 1e6:.1f} MB"
