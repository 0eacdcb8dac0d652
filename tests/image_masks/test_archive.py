"""``data fetch`` against a server on this machine that misbehaves in every way we know of."""

from __future__ import annotations

import hashlib
import re
import resource
import socket
import threading
import zipfile
from collections.abc import Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from saldiag.core.errors import DataError
from saldiag.image_masks import archive
from saldiag.image_masks.archive import ARCHIVE_NAME, fetch_archive
from saldiag.image_masks.sample import write_sample

PAIRS = 5


class Server(ThreadingHTTPServer):
    """Serves ``content``; ``breaks`` says after how many bytes each next answer breaks off."""

    content = b""
    etag: str | None = '"one"'
    modified: str | None = None
    ranges = True
    status: int | None = None
    wrong_range = False
    announced = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.breaks: list[int] = []
        self.asked: list[dict[str, str]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/{ARCHIVE_NAME}"


class Handler(BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"

    def log_message(self, *args: Any) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        server = self.server
        server.asked.append(dict(self.headers))
        start = self._start()
        skipped = bool(start) and server.wrong_range
        body = server.content[start + skipped :]
        self.send_response(server.status or (206 if start else 200))
        if start:
            span = f"bytes {start + skipped}-{len(server.content) - 1}/{len(server.content)}"
            self.send_header("Content-Range", span)
        for name, value in (("ETag", server.etag), ("Last-Modified", server.modified)):
            if value:
                self.send_header(name, value)
        if server.announced:
            self.send_header("Content-Length", str(len(body)))
        else:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body[: server.breaks.pop(0)] if server.breaks else body)
        self.close_connection = True

    def _start(self) -> int:
        wanted = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        current = self.headers.get("If-Range") in {self.server.etag, self.server.modified}
        return int(wanted[1]) if wanted and current and self.server.ranges else 0


@pytest.fixture(scope="module")
def content(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    folder = tmp_path_factory.mktemp("archive")
    write_sample(folder / "set", count=PAIRS, size=(60, 90))
    with zipfile.ZipFile(folder / ARCHIVE_NAME, "w") as packed:
        for file in sorted((folder / "set" / "Imgs").iterdir()):
            packed.write(file, f"MSRA10K_Imgs_GT/Imgs/{file.name}")
    return (folder / ARCHIVE_NAME).read_bytes()


@pytest.fixture
def server(content: bytes, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(archive, "_CHUNK_BYTES", 500)
    with Server() as serving:
        serving.content = content
        thread = threading.Thread(target=partial(serving.serve_forever, poll_interval=0.01))
        thread.start()
        yield serving
        serving.shutdown()
        thread.join()


def _fetch(place: Path, server: Server, **options: Any) -> Path:
    return fetch_archive(place, server.url, pairs=options.pop("pairs", PAIRS), pause=0.0, **options)


def _names(place: Path) -> list[str]:
    return sorted(path.name for path in place.iterdir())


def test_a_whole_download_is_verified_and_recorded(
    server: Server, tmp_path: Path, content: bytes
) -> None:
    seen: list[tuple[int, int | None]] = []
    path = _fetch(tmp_path, server, progress=lambda done, total: seen.append((done, total)))
    assert path == tmp_path / ARCHIVE_NAME
    assert path.read_bytes() == content
    assert _names(tmp_path) == [ARCHIVE_NAME, f"{ARCHIVE_NAME}.sha256"]
    digest = hashlib.sha256(content).hexdigest()
    assert (tmp_path / f"{ARCHIVE_NAME}.sha256").read_text() == f"{digest}  {ARCHIVE_NAME}\n"
    assert seen[-1] == (len(content), len(content))
    assert server.asked[0]["Accept-Encoding"] == "identity"


def test_an_existing_file_is_verified_and_not_downloaded_again(
    server: Server, tmp_path: Path
) -> None:
    path = _fetch(tmp_path / "new" / "mine.zip", server)
    assert _fetch(path, server) == path
    assert len(server.asked) == 1
    path.write_bytes(path.read_bytes() + b"x")
    with pytest.raises(DataError, match=r"mine\.zip: its SHA-256 is .*, not .* as recorded in .*"):
        _fetch(path, server)
    assert path.read_bytes().endswith(b"x")  # the user's file is not ours to remove


@pytest.mark.parametrize(
    ("destination", "path"),
    [
        ("new", f"new/{ARCHIVE_NAME}"),
        ("a.b/c", f"a.b/c/{ARCHIVE_NAME}"),
        ("x.ZIP", "x.ZIP"),
        ("folder.zip", f"folder.zip/{ARCHIVE_NAME}"),
    ],
)
def test_path_of_the_downloaded_file(
    server: Server, tmp_path: Path, destination: str, path: str
) -> None:
    (tmp_path / "folder.zip").mkdir()
    assert _fetch(tmp_path / destination, server) == tmp_path / path
    assert (tmp_path / path).is_file()


def test_a_file_put_there_by_hand_is_checked_and_recorded(
    server: Server, tmp_path: Path, content: bytes
) -> None:
    (tmp_path / ARCHIVE_NAME).write_bytes(content)
    _fetch(tmp_path, server)
    assert _names(tmp_path) == [ARCHIVE_NAME, f"{ARCHIVE_NAME}.sha256"]
    (tmp_path / f"{ARCHIVE_NAME}.sha256").unlink()
    (tmp_path / ARCHIVE_NAME).write_bytes(content[:-500])
    with pytest.raises(DataError, match="no complete zip"):
        _fetch(tmp_path, server)
    assert (tmp_path / ARCHIVE_NAME).stat().st_size == len(content) - 500
    assert server.asked == []


@pytest.mark.parametrize("validator", ["etag", "modified"])
def test_a_broken_connection_is_resumed_in_one_call(
    server: Server, tmp_path: Path, content: bytes, validator: str
) -> None:
    if validator == "modified":
        server.etag, server.modified = 'W/"weak"', "Tue, 01 Jul 2014 00:00:00 GMT"
    server.breaks = [3000, 2000]
    assert _fetch(tmp_path, server).read_bytes() == content
    assert [asked.get("Range") for asked in server.asked] == [None, "bytes=3000-", "bytes=5000-"]
    assert server.asked[1]["If-Range"] == (server.modified or '"one"')


def test_the_next_call_resumes_the_download(server: Server, tmp_path: Path, content: bytes) -> None:
    server.breaks = [1000] * 5
    with pytest.raises(DataError, match=r"broke at 0\.0 MB .*run the command again to resume"):
        _fetch(tmp_path, server)
    assert (tmp_path / f"{ARCHIVE_NAME}.part").read_bytes() == content[:5000]
    server.asked.clear()
    assert _fetch(tmp_path, server).read_bytes() == content
    assert [asked.get("Range") for asked in server.asked] == ["bytes=5000-"]
    assert _names(tmp_path) == [ARCHIVE_NAME, f"{ARCHIVE_NAME}.sha256"]


def test_a_changed_file_is_not_glued_to_the_old_one(
    server: Server, tmp_path: Path, content: bytes
) -> None:
    server.breaks = [1000] * 5
    with pytest.raises(DataError):
        _fetch(tmp_path, server)
    (tmp_path / f"{ARCHIVE_NAME}.part").write_bytes(b"old" * 1500)
    server.etag = '"two"'
    assert _fetch(tmp_path, server).read_bytes() == content


@pytest.mark.parametrize("how", ["ranges ignored", "no validator", "wrong range"])
def test_without_ranges_it_starts_over(
    server: Server, tmp_path: Path, content: bytes, how: str
) -> None:
    server.ranges = how != "ranges ignored"
    server.wrong_range = how == "wrong range"
    if how == "no validator":
        server.etag = None
    server.breaks = [3000]
    assert _fetch(tmp_path, server).read_bytes() == content
    assert _names(tmp_path) == [ARCHIVE_NAME, f"{ARCHIVE_NAME}.sha256"]


def test_a_finished_part_is_not_fetched_again(
    server: Server, tmp_path: Path, content: bytes
) -> None:
    server.breaks = [1000] * 5
    with pytest.raises(DataError):
        _fetch(tmp_path, server)
    (tmp_path / f"{ARCHIVE_NAME}.part").write_bytes(
        content
    )  # killed between the last byte and renaming
    server.asked.clear()
    assert _fetch(tmp_path, server).read_bytes() == content
    assert server.asked == []


def test_a_truncated_body_without_a_length_is_refused(server: Server, tmp_path: Path) -> None:
    server.announced = False
    server.breaks = [3000]
    with pytest.raises(DataError, match="the server sent no complete zip"):
        _fetch(tmp_path, server)
    assert _names(tmp_path) == []


@pytest.mark.parametrize("status", [404, 403, 500])
def test_an_error_of_the_server_is_named(server: Server, tmp_path: Path, status: int) -> None:
    server.status = status
    with pytest.raises(DataError, match=f"server answers {status} .*or download the file by hand"):
        _fetch(tmp_path, server)
    assert _names(tmp_path) == []


def test_an_html_page_in_place_of_the_archive_is_deleted(server: Server, tmp_path: Path) -> None:
    server.content = b"<html>please log in</html>"
    with pytest.raises(DataError, match="no complete zip"):
        _fetch(tmp_path, server)
    assert _names(tmp_path) == []


def test_the_number_of_pairs_counts(server: Server, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds 5 pairs instead of 10000"):
        _fetch(tmp_path, server, pairs=archive.PAIR_COUNT)
    assert _fetch(tmp_path, server, pairs=None).is_file()


def test_a_given_checksum_is_enforced(server: Server, tmp_path: Path, content: bytes) -> None:
    with pytest.raises(DataError, match=f"not {'0' * 64} as given"):
        _fetch(tmp_path, server, sha256="0" * 64)
    assert _names(tmp_path) == []
    right = hashlib.sha256(content).hexdigest().upper()
    assert _fetch(tmp_path, server, sha256=right).is_file()
    with pytest.raises(DataError, match="as given"):
        _fetch(tmp_path, server, sha256="0" * 64)
    assert (tmp_path / ARCHIVE_NAME).is_file()


def test_damage_in_a_member_is_found(server: Server, tmp_path: Path, content: bytes) -> None:
    spoilt = bytearray(content)
    spoilt[300:320] = bytes(20)
    server.content = bytes(spoilt)
    with pytest.raises(DataError, match=r"damaged member .*Imgs/sample-0000\.jpg"):
        _fetch(tmp_path, server)


def test_offline_says_where_to_put_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    with pytest.raises(DataError) as caught:
        fetch_archive(tmp_path, f"http://127.0.0.1:{port}/x.zip", pause=0.0)
    message = str(caught.value)
    assert "cannot be reached (Connection refused): download it elsewhere" in message
    assert f"copy it to {tmp_path / ARCHIVE_NAME} and run the command again" in message
    assert "\n" not in message
    assert _names(tmp_path) == []


@pytest.mark.parametrize("url", ["ftp://127.0.0.1/x", "nonsense", "http://", "file:///etc/passwd"])
def test_an_address_that_is_none_is_one_line(tmp_path: Path, url: str) -> None:
    with pytest.raises(DataError, match="cannot be reached"):
        fetch_archive(tmp_path, url, pause=0.0)


def test_a_full_disk_keeps_the_partial_download(
    server: Server, tmp_path: Path, content: bytes
) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))  # the system refuses to write more
    try:
        with pytest.raises(DataError, match=r"written \(File too large\): free disk space"):
            _fetch(tmp_path, server)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert (tmp_path / f"{ARCHIVE_NAME}.part").read_bytes() == content[:4096]
    assert _fetch(tmp_path, server).read_bytes() == content


def test_too_little_disk_space_is_reported_before_writing(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Usage:
        free = 100

    monkeypatch.setattr(archive.shutil, "disk_usage", lambda path: Usage)
    with pytest.raises(DataError, match=r"are needed and 0\.0 MB are free"):
        _fetch(tmp_path, server)
    assert _names(tmp_path) == []


def test_a_file_in_place_of_the_folder_is_refused(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(DataError, match="cannot be written"):
        _fetch(tmp_path / "file" / ARCHIVE_NAME, server)
    assert (tmp_path / "file").read_text() == "mine"
