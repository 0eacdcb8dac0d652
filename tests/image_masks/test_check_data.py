"""``data check``: one broken pair for each kind of defect, and none where there is none."""

from __future__ import annotations

import io
import itertools
import json
import shutil
import threading
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from saldiag.core.errors import DataError
from saldiag.core.files.jsonio import dumps
from saldiag.image_masks import check_data, decode
from saldiag.image_masks.check_data import KINDS, DataReport, check_dataset, to_table
from saldiag.image_masks.msra10k import open_dataset
from saldiag.image_masks.sample import write_sample
from saldiag.image_masks.storage import Item

REAL = Path(__file__).parents[3] / "shared" / "data"
ORIENTATION = 0x0112


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("whole") / "set"
    write_sample(path, count=12, size=(40, 61))
    return path


@pytest.fixture
def folder(whole: Path, tmp_path: Path) -> Path:
    shutil.copytree(whole, tmp_path / "set")
    return tmp_path / "set"


def _found(report: DataReport) -> list[tuple[str, str]]:
    return [(defect.kind, defect.file) for defect in report.defects]


def _mask(folder: Path, number: int) -> np.ndarray:
    with Image.open(_path(folder, number, "png")) as picture:
        return np.array(picture.convert("L"))


def _path(folder: Path, number: int, suffix: str) -> Path:
    return folder / "Imgs" / f"sample-{number:04d}.{suffix}"


def _save_mask(folder: Path, number: int, levels: np.ndarray) -> None:
    Image.fromarray(levels.astype(np.uint8)).save(_path(folder, number, "png"))


def test_a_whole_set_has_no_defect_as_folder_and_as_zip(whole: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "set.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for file in (whole / "Imgs").iterdir():
            archive.write(file, f"top/Imgs/{file.name}")
    for path in (whole, tmp_path / "set.zip"):
        report = check_dataset(path)
        assert report.defects == ()
        assert report.pairs == 12
        assert report.splits == {"train": 10, "val": 1, "test": 1}
        assert report.notes["greyscale images"] == 1


def test_unpaired(folder: Path) -> None:
    _path(folder, 3, "png").unlink()
    _path(folder, 4, "jpg").unlink()
    report = check_dataset(folder)
    assert _found(report) == [
        ("unpaired", "Imgs/sample-0003.jpg"),
        ("unpaired", "Imgs/sample-0004.png"),
    ]
    assert [d.detail for d in report.defects] == ["image without a mask", "mask without an image"]


@pytest.mark.parametrize("suffix", ["jpg", "png"])
@pytest.mark.parametrize("how", ["truncated", "text", "empty"])
def test_unreadable(folder: Path, suffix: str, how: str) -> None:
    path = _path(folder, 5, suffix)
    content = path.read_bytes()
    path.write_bytes({"truncated": content[:-30], "text": b"hello", "empty": b""}[how])
    assert _found(check_dataset(folder)) == [("unreadable", f"Imgs/sample-0005.{suffix}")]


def test_unreadable_in_a_zip(whole: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
        for file in sorted((whole / "Imgs").iterdir()):
            archive.write(file, file.name)
        offset = archive.getinfo("sample-0007.jpg").header_offset
    content = bytearray((tmp_path / "set.zip").read_bytes())
    content[offset + 200 : offset + 220] = bytes(20)
    (tmp_path / "set.zip").write_bytes(content)
    assert _found(check_dataset(tmp_path / "set.zip")) == [("unreadable", "sample-0007.jpg")]


def test_mask_of_another_size(folder: Path) -> None:
    levels = _mask(folder, 2)
    _save_mask(folder, 2, levels[:-1])
    report = check_dataset(folder)
    assert _found(report) == [("mask size", "Imgs/sample-0002.png")]
    height, width = levels.shape
    assert report.defects[0].detail == f"mask {width}x{height - 1}, image {width}x{height}"


def test_mask_not_binary(folder: Path) -> None:
    levels = _mask(folder, 2)
    levels[0, :5] = (1, 2, 3, 200, 254)
    _save_mask(folder, 2, levels)
    (defect,) = check_dataset(folder).defects
    assert defect.kind == "mask not binary"
    share = 100 * 5 / levels.size
    assert defect.detail == f"7 values from 0 to 255, {share:.2g} % of the pixels neither 0 nor 255"


def test_mask_of_zeros_and_ones_is_empty_and_not_binary(folder: Path) -> None:
    _save_mask(folder, 2, _mask(folder, 2) // 255)
    assert [kind for kind, _ in _found(check_dataset(folder))] == ["mask not binary", "mask empty"]


def test_mask_empty_and_full(folder: Path) -> None:
    _save_mask(folder, 2, np.zeros_like(_mask(folder, 2)))
    _save_mask(folder, 3, np.full_like(_mask(folder, 3), 255))
    report = check_dataset(folder)
    assert [kind for kind, _ in _found(report)] == ["mask empty", "mask full"]
    assert report.defects[0].detail == "no pixel is 128 or more (the highest is 0)"


def test_duplicates_across_and_within_splits(folder: Path) -> None:
    splits = open_dataset(folder).split(seed=4)
    one, two, three = splits.train[:3]
    for source, target in ((one, splits.val[0]), (one, two), (three, splits.test[0])):
        for suffix in ("jpg", "png"):
            path = folder / "Imgs" / source.stem
            shutil.copy(
                path.with_suffix(f".{suffix}"),
                (folder / "Imgs" / target.stem).with_suffix(f".{suffix}"),
            )
    report = check_dataset(folder, seed=4)
    assert {(d.kind, d.stem) for d in report.defects} == {
        ("duplicate across splits", splits.val[0].stem),
        ("duplicate across splits", splits.test[0].stem),
    }
    assert report.notes["duplicates within a split"] == 1
    first = next(d for d in report.defects if d.stem == splits.val[0].stem)
    assert first.detail == f"in val; the same image as {one.stem} in train"


def _turn(path: Path, orientation: int) -> None:
    with Image.open(path) as picture:
        exif = picture.getexif()
        exif[ORIENTATION] = orientation
        picture.save(path, exif=exif)


def test_images_turned_by_exif_are_a_note_unless_the_mask_disagrees(folder: Path) -> None:
    _turn(_path(folder, 1, "jpg"), 3)
    report = check_dataset(folder)
    assert report.defects == ()
    assert report.notes["images turned by Exif"] == 1
    _turn(_path(folder, 1, "jpg"), 6)
    (defect,) = check_dataset(folder).defects
    assert defect.kind == "mask size"
    assert defect.detail.endswith(
        "after its Exif rotation: the mask was drawn on the unrotated image"
    )
    _save_mask(folder, 1, _mask(folder, 1).T)
    assert check_dataset(folder).defects == ()


def test_the_report_is_strict_json_with_every_kind(folder: Path) -> None:
    _path(folder, 3, "png").unlink()
    value = json.loads(dumps(check_dataset(folder, seed=9).to_dict()))
    assert value["schema_version"] == 1
    assert (value["seed"], value["pairs"], value["name"]) == (9, 11, "set")
    assert list(value["counts"]) == list(KINDS)
    assert value["counts"]["unpaired"] == 1
    assert value["defects"] == [
        {
            "kind": "unpaired",
            "stem": "sample-0003",
            "file": "Imgs/sample-0003.jpg",
            "detail": "image without a mask",
        }
    ]


def _drawn(report: DataReport, limit: int | None = None) -> str:
    stream = io.StringIO()
    Console(width=80, file=stream).print(to_table(report, limit))
    return stream.getvalue()


def test_the_table_fits_80_columns_and_shows_hostile_names_as_they_are(folder: Path) -> None:
    names = ["[red]x[bold]", "a\x1b[2Jb\nc", "very-long-name-" * 8]
    for name in names:
        shutil.copy(_path(folder, 0, "jpg"), folder / "Imgs" / f"{name}.jpg")
    text = _drawn(check_dataset(folder))
    assert max(len(line) for line in text.splitlines()) <= 80
    assert "[red]x[bold].jpg" in text
    assert "\x1b" not in text
    assert "a\\x1b[2Jb\\nc.jpg" in text.replace(" ", "").replace("│", "").replace("\n", "")
    assert text.startswith("set: 12 pairs (train 10, val 1, test 1), 3 defects\n")
    assert "also: greyscale images 1" in text
    assert "2 more" in _drawn(check_dataset(folder), limit=1)


def test_progress_counts_all_pairs(folder: Path) -> None:
    seen: list[tuple[int, int | None]] = []
    check_dataset(folder, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(done, 12) for done in range(13)]


def test_ctrl_c_ends_at_once_and_leaves_no_thread(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, looked = threading.active_count(), []
    real, numbers, ended = check_data._inspect_pair, itertools.count(), threading.Event()

    def look(item: Item) -> object:
        """Only the first item is done before Ctrl-C; what else has begun goes on after it."""
        looked.append(item)
        if next(numbers) > 0:
            assert ended.wait(60)
        return real(item)

    class Pool(ThreadPoolExecutor):
        def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
            super().shutdown(wait=False, cancel_futures=cancel_futures)
            ended.set()
            super().shutdown(wait=wait)

    def interrupt(done: int, total: int | None) -> None:
        if done == 1:
            raise KeyboardInterrupt

    monkeypatch.setattr(check_data, "_inspect_pair", look)
    monkeypatch.setattr(decode, "ThreadPoolExecutor", Pool)
    monkeypatch.setattr(decode.os, "cpu_count", lambda: 2)
    with pytest.raises(KeyboardInterrupt):
        check_dataset(folder, progress=interrupt)
    assert threading.active_count() == before
    assert len(looked) <= 3  # of 12: what had begun ends, nothing else begins


def test_no_data_set_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file or folder"):
        check_dataset(tmp_path / "nowhere")


@pytest.mark.skipif(not REAL.exists(), reason="../shared/data is missing")
def test_real_photographs_have_no_defects() -> None:
    for name, pairs in (("msra10k-20", 20), ("ecssd-240", 240)):
        report = check_dataset(REAL / name)
        assert (report.pairs, report.defects) == (pairs, ())
