"""Which files of a program are recorded, and as what."""

from __future__ import annotations

import hashlib
import json
import linecache
import types
from pathlib import Path

import pytest

from saldiag.core.errors import RunError
from saldiag.core.files.jsonio import read_json, write_json
from saldiag.core.files.run import Run, RunInfo
from saldiag.core.files.sources import decoded, digest, is_unchanged, recorded_sources
from saldiag.core.measurement import SourceFiles
from saldiag.subject.program import source_snapshot
from saldiag.subject.program.source_snapshot import SourceSnapshot
from saldiag.subject.source import stack_frames


@pytest.fixture
def loaded(tmp_path, monkeypatch):
    """Write a file and load it as a module of the program."""
    monkeypatch.chdir(tmp_path)
    modules = {}
    monkeypatch.setattr(source_snapshot, "sys", types.SimpleNamespace(modules=modules))
    stack_frames.display_path.cache_clear()

    def load(name, content=b"x = 1\n"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
        module = types.ModuleType(name)
        module.__file__ = str(path)
        modules[name] = module
        return path

    load.modules = modules
    yield load
    stack_frames.display_path.cache_clear()


def names(measured):
    return [source.file for source in measured.files]


def test_a_file_has_the_hash_of_its_bytes_and_its_text_with_line_ends(loaded):
    content = "# coding: latin-1\r\nname = 'größe'\r\n".encode("latin-1")
    path = loaded("one.py", content)
    (source,) = SourceSnapshot().source_files().files
    assert source.file == "one.py"
    assert source.sha256 == hashlib.sha256(content).hexdigest()
    assert source.text == content.decode("latin-1")
    assert is_unchanged(source, path)
    path.write_bytes(content + b"#")
    assert not is_unchanged(source, path)
    assert not is_unchanged(source, path.parent / "none.py")


def test_the_program_comes_first_as_it_was_before_it_ran(loaded, tmp_path):
    script = tmp_path / "zz.py"
    script.write_text("first")
    files = SourceSnapshot(script)
    script.write_text("second")
    loaded("aa.py")
    measured = files.source_files()
    assert names(measured) == ["zz.py", "aa.py"]
    assert measured.files[0].text == "first"


def test_what_is_not_the_users_is_left_out(loaded):
    loaded("__autograph_generated_file1.py")
    built_in = loaded.modules["saldiag.quicksal"] = types.ModuleType("q")
    built_in.__file__ = str(Path(source_snapshot.__file__).parents[1] / "q.py")
    loaded.modules["json"] = json
    loaded.modules["none"] = types.ModuleType("none")
    assert names(SourceSnapshot().source_files()) == []


def test_a_notebook_has_its_hash_and_its_cells_their_text(loaded, tmp_path, monkeypatch):
    book = tmp_path / "book.ipynb"
    book.write_text("{}")
    cell = f"{book}[2]"
    monkeypatch.setitem(linecache.cache, cell, (4, None, ["a\n", "b\n"], cell))
    whole, part = SourceSnapshot(book).source_files().files
    assert (whole.file, whole.sha256, whole.text) == ("book.ipynb", digest(b"{}"), None)
    assert (part.file, part.text) == ("book.ipynb[2]", "a\nb\n")


def test_long_texts_and_many_files_are_told_but_not_kept(loaded, monkeypatch):
    monkeypatch.setattr(source_snapshot, "MAX_TEXT_BYTES", 10)
    monkeypatch.setattr(source_snapshot, "MAX_FILES", 2)
    for name in ("a.py", "b.py", "c.py"):
        loaded(name, b"#" * (11 if name == "a.py" else 10))
    measured = SourceSnapshot().source_files()
    assert [(s.file, s.size, s.text is None) for s in measured.files] == [
        ("a.py", 11, True),
        ("b.py", 10, False),
    ]
    assert measured.left_out == 1


def test_all_texts_together_have_a_limit(loaded, monkeypatch):
    monkeypatch.setattr(source_snapshot, "MAX_ALL_TEXT_BYTES", 15)
    for name in ("a.py", "b.py"):
        loaded(name, b"#" * 10)
    assert [s.text is None for s in SourceSnapshot().source_files().files] == [False, True]


def test_what_is_no_text_is_none():
    assert decoded(b"\xff\xfe\x00") is None
    assert decoded(b"# coding: nonsense\n") is None
    assert decoded(b"\xef\xbb\xbfx = 1") == "x = 1"


def test_a_run_tells_its_sources_by_path(loaded, tmp_path):
    loaded("one.py")
    run = Run.create("run", tmp_path / "run")
    run.write_info(RunInfo(("saldiag", "run"), {}, 0, {}))
    assert recorded_sources(run.path) == {}
    run.write_measurement(SourceSnapshot().source_files())
    assert recorded_sources(run.path)["one.py"].text == "x = 1\n"


@pytest.mark.parametrize("name", ["run.json", "measurements/sources.json"])
def test_a_run_of_a_later_version_says_so(tmp_path, name):
    run = Run.create("run", tmp_path / "run")
    run.write_info(RunInfo(("saldiag", "run"), {}, 0, {}))
    run.write_measurement(SourceFiles(()))
    value = read_json(run.path / name)
    write_json(run.path / name, {**value, "schema_version": 2, "more": 1})
    with pytest.raises(RunError, match=rf"{name}: written by a newer saldiag .*2.* update saldiag"):
        _ = recorded_sources(run.path), run.read_info()
