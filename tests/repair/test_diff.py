"""Diffs as git and patch take them, whatever the file is called and written in."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from saldiag.repair.diff import unified_diff

TEXTS = [
    (b"a\nb\nc\n", b"a\nB\nc\n"),
    (b"a\nb", b"a\nB"),
    (b"a\nb\n", b"a\nb"),
    (b"a\r\nb\r\n", b"a\r\nB\r\n"),
    (b"caf\xe9\n\x0cb\n", b"caf\xe9\n\x0cB\n"),
    ("\ufeffä\u2028ü\n".encode(), "\ufeffä\u2028ö\n".encode()),
    (b"one\n" * 50 + b"x\n" + b"two\n" * 50, b"ONE\n" + b"one\n" * 49 + b"y\n" + b"two\n" * 50),
]
NAMES = ["train.py", "my train.py", "größe.py", 'q"uote.py', "back\\slash.py", "tab\there.py",
         "new\nline.py", "-rf.py", "folder/with space/ü.py", "esc\x1b[31m.py"]  # fmt: skip


def applied(command: list[str], folder: Path, name: str, texts: tuple[bytes, bytes]) -> bytes:
    if shutil.which(command[0]) is None:
        pytest.skip(f"there is no {command[0]}")
    file = folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(texts[0])
    done = subprocess.run(
        command, cwd=folder, input=unified_diff(name, *texts), capture_output=True, check=False
    )
    assert done.returncode == 0, (done.stdout, done.stderr)
    return file.read_bytes()


@pytest.mark.parametrize("texts", TEXTS)
@pytest.mark.parametrize("command", [["git", "apply"], ["patch", "-p1", "--binary"]])
def test_every_text_is_patched(command: list[str], texts: tuple[bytes, bytes], tmp_path) -> None:
    assert applied(command, tmp_path, "train.py", texts) == texts[1]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("command", [["git", "apply"], ["patch", "-p1"]])
def test_every_name_is_patched(command: list[str], name: str, tmp_path: Path) -> None:
    if command[0] == "patch" and "\n" in name:
        pytest.skip("patch does not take a name with a line end in it")
    assert applied(command, tmp_path, name, TEXTS[0]) == TEXTS[0][1]


def test_git_takes_it_below_the_top_of_a_repository(tmp_path: Path) -> None:
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    (tmp_path / "sub").mkdir()
    assert applied(["git", "apply"], tmp_path / "sub", "train.py", TEXTS[0]) == TEXTS[0][1]


def test_nothing_changed_is_no_diff() -> None:
    assert unified_diff("a.py", b"x\n", b"x\n") == b""


def test_no_line_of_the_header_can_be_forged() -> None:
    told = unified_diff("a\n+++ b/evil.py\n@@ -1 +1 @@", b"x\n", b"y\n").split(b"\n")
    assert [line[:3] for line in told[:3]] == [b"---", b"+++", b"@@ "]
    assert len(told) == 6
