"""``saldiag data fetch``: the real archive, resumed where it broke off, and verified.

The project publishes no checksum, so the first whole download is verified by its contents (every
member's CRC-32, and the number of pairs) and its SHA-256 is recorded beside it for later.
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
from saldiag.image_masks.progress import Advance, silent
from saldiag.image_masks.storage import reason

URL = "http://mftp.mmcheng.net/Data/MSRA10K_Imgs_GT.zip"
"""As published on the data set's page (mmcheng.net/msra10k), 195 MB; there is no https."""
NAME = "MSRA10K_Imgs_GT.zip"
PAIRS = 10_000

_CHUNK = 2**14
"""Bytes; what has come of a chunk when the connection breaks off is lost."""
_TIMEOUT = (10.0, 60.0)
"""Seconds to connect, and between two packets."""
_ATTEMPTS = 5
_PAUSE = 2.0


class _BrokenOffError(Exception):
    """The connection ended early; what came is kept."""


@dataclass(frozen=True)
class _Remote:
    """Which version of the file a ``.part`` belongs to; ``validator`` is for If-Range."""

    url: str
    validator: str
    length: int


def fetch(
    destination: Path,
    url: str = URL,
    sha256: str | None = None,
    progress: Advance = silent,
    *,
    pairs: int | None = PAIRS,
    pause: float = _PAUSE,
) -> Path:
    """Download the archive, or verify the one that is there; return its path.

    An unfinished download is kept as ``NAME.part`` and resumed, within this call and by the next
    one, as long as the server still has the same version. The SHA-256 is recorded in
    ``NAME.sha256`` and compared from then on.

    Args:
        destination: a file (``….zip``, or one that is there), or a directory, which need not be
            there yet, to put ``MSRA10K_Imgs_GT.zip`` into.
        url: where from.
        sha256: what the file must hash to; default: what was recorded, if anything.
        progress: called with bytes done and bytes in all (None: unknown).
        pairs: how many pairs the archive must hold; None: any number above none.
        pause: seconds to wait before resuming a broken connection.

    Raises:
        DataError: offline, an error of the server, disk full, or another file than expected;
            what was there before is kept.
    """
    target = _target(destination)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.exists():
            _verify(target, target, sha256, pairs)
        else:
            part = target.with_name(f"{target.name}.part")
            _download(part, url, target, progress, pause)
            _accept(part, target, sha256, pairs)
    except OSError as error:
        raise DataError(
            f"{printable(target)}: cannot be written ({reason(error)}): "
            "make room or choose another place, then run the command again"
        ) from error
    return target


def _target(destination: Path) -> Path:
    is_file = destination.is_file() or destination.suffix.lower() == ".zip"
    return destination if is_file and not destination.is_dir() else destination / NAME


def _accept(part: Path, target: Path, sha256: str | None, pairs: int | None) -> None:
    """Make the finished ``.part`` the archive; throw it away if it is not what was wanted."""
    try:
        _verify(part, target, sha256, pairs)
    except DataError:
        _discard(part)
        raise
    part.replace(target)
    _description(part).unlink(missing_ok=True)


def _verify(path: Path, target: Path, sha256: str | None, pairs: int | None) -> None:
    """Check ``path``, which is or becomes ``target``, by checksum or contents; record the sum."""
    record = target.with_name(f"{target.name}.sha256")
    found = _digest(path)
    recorded = record.read_text(encoding="ascii").split()[:1] if record.is_file() else []
    expected = sha256.lower() if sha256 else next(iter(recorded), None)
    if expected not in {None, found}:
        source = "given" if sha256 else f"recorded in {printable(record)}"
        raise DataError(
            f"{printable(target)}: its SHA-256 is {found}, not {expected} as {source}: "
            "remove it to fetch it anew, or the record if the change is wanted"
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
            f"{printable(target)}: what the server sent is no whole zip ({printable(str(error))})"
        ) from error
    if bad is not None:
        raise DataError(
            f"{printable(target)}: damaged member {printable(bad)}: remove it and fetch it anew"
        )
    count = len(list_pairs(path).items)
    if pairs is not None and count != pairs:
        raise DataError(f"{printable(target)}: holds {count} pairs instead of {pairs}")


def _digest(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _download(part: Path, url: str, target: Path, progress: Advance, pause: float) -> None:
    """Bring ``part`` to its full length, resuming as often as makes sense."""
    for attempt in range(_ATTEMPTS):
        if attempt:
            time.sleep(pause)
        try:
            _transfer(part, url, progress)
        except _BrokenOffError as error:
            have = part.stat().st_size if part.exists() else 0
            broken = f"{printable(url)}: the connection broke off at {_megabytes(have)} ({error})"
        except requests.RequestException as error:
            raise _unreachable(url, target, error) from error
        else:
            return
    raise DataError(f"{broken}: run the command again to go on from there")


def _unreachable(url: str, target: Path, error: requests.RequestException) -> DataError:
    kind = "no answer in time" if isinstance(error, requests.Timeout) else _innermost(error)
    return DataError(
        f"{printable(url)}: cannot be reached ({kind}): download it elsewhere, "
        f"put it at {printable(target)} and run the command again to verify it"
    )


def _innermost(error: BaseException) -> str:
    """What the system said, below the layers of the HTTP library."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, OSError) and seen.strerror:
            return seen.strerror
        cause = getattr(seen, "reason", None) or seen.__cause__ or seen.__context__
        seen = cause if isinstance(cause, BaseException) else None
    return type(error).__name__


def _transfer(part: Path, url: str, progress: Advance) -> None:
    known = _known(part, url)
    have = part.stat().st_size if known else 0
    if known and have == known.length:
        return
    headers = {"Accept-Encoding": "identity"}
    if known:
        # If-Range (RFC 9110, 13.1.5): a file that has changed comes whole, not glued to the old.
        headers |= {"Range": f"bytes={have}-", "If-Range": known.validator}
    with requests.get(url, headers=headers, stream=True, timeout=_TIMEOUT) as response:
        start = _start(response, part, have, known)
        length = _length(response, start)
        _check_space(part, length, start)
        if not start:
            _describe(part, url, response, length)
        _save(response, part, start, length, progress)


def _start(response: requests.Response, part: Path, have: int, known: _Remote | None) -> int:
    """Where in the file the answer begins."""
    if response.status_code == requests.codes.partial_content and known:
        span = f"bytes {have}-{known.length - 1}/{known.length}"
        if response.headers.get("Content-Range") == span:
            return have
        _discard(part)
        raise _BrokenOffError("the server sent another range than was asked for")
    if response.status_code == requests.codes.ok:
        return 0
    raise DataError(
        f"{printable(response.url)}: the server answers {response.status_code} "
        f"{printable(response.reason or '')}: check the address, or fetch the file by hand"
    )


def _length(response: requests.Response, start: int) -> int | None:
    text = response.headers.get("Content-Length", "")
    return start + int(text) if text.isdecimal() else None


def _check_space(part: Path, length: int | None, start: int) -> None:
    free = shutil.disk_usage(part.parent).free
    if length is not None and length - start > free:
        raise DataError(
            f"{printable(part.parent)}: {_megabytes(length - start)} are needed and "
            f"{_megabytes(free)} free: make room or choose another place"
        )


def _save(
    response: requests.Response, part: Path, start: int, length: int | None, progress: Advance
) -> None:
    done = start
    with part.open("ab" if start else "wb") as stream:
        try:
            for chunk in response.iter_content(_CHUNK):
                stream.write(chunk)
                done += len(chunk)
                progress(done, length)
        except requests.RequestException as error:
            # Less than Content-Length among it: urllib3 2 raises IncompleteRead.
            raise _BrokenOffError(type(error).__name__) from error


def _description(part: Path) -> Path:
    return part.with_name(f"{part.name}.json")


def _describe(part: Path, url: str, response: requests.Response, length: int | None) -> None:
    """Note which version is coming, if that can be told; a weak ETag does not serve ranges."""
    _discard(part)
    etag = response.headers.get("ETag", "")
    validator = response.headers.get("Last-Modified") if etag.startswith("W/") else etag
    validator = validator or response.headers.get("Last-Modified")
    if validator and length:
        write_json(_description(part), _Remote(url, validator, length))


def _known(part: Path, url: str) -> _Remote | None:
    """Which version the ``.part`` is of, or None where there is nothing to go on from."""
    try:
        value = read_json(_description(part))
        known = _Remote(str(value["url"]), str(value["validator"]), int(value["length"]))
        usable = known.url == url and 0 < part.stat().st_size <= known.length
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return known if usable else None


def _discard(part: Path) -> None:
    part.unlink(missing_ok=True)
    _description(part).unlink(missing_ok=True)


def _megabytes(count: int) -> str:
    return f"{count / 1e6:.1f} MB"
