"""Listing, splitting and choosing pairs, from folders and zips."""

from __future__ import annotations

import io
import os
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from saldiag.core.errors import DataError
from saldiag.core.wording import printable
from saldiag.image_masks.msra10k import Item, list_pairs, open_dataset, split_items, take_subset
from saldiag.image_masks.sample import write_sample
from saldiag.image_masks.storage import FileRef, MemberRef

REAL = Path(__file__).parents[3] / "shared" / "data"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pairs") / "set"
    write_sample(path, count=4, size=(24, 41))
    return path


def _zip(folder: Path, path: Path, top: str = "", method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for file in sorted(folder.rglob("*.*")):
            if file.is_file():
                archive.write(file, top + str(file.relative_to(folder)))
    return path


def _items(count: int) -> list[Item]:
    here = FileRef(Path("x"))
    return [Item(f"{number:05d}", here, here) for number in range(count)]


@pytest.mark.parametrize("where", ["", "Imgs", "MSRA10K_Imgs_GT", "MSRA10K_Imgs_GT/Imgs"])
def test_the_places_where_pairs_may_lie_in_folder_and_zip(
    folder: Path, tmp_path: Path, where: str
) -> None:
    shutil.copytree(folder / "Imgs", tmp_path / "set" / where, dirs_exist_ok=True)
    (tmp_path / "set" / "Readme.txt").write_text("hello")
    opened = open_dataset(tmp_path / "set")
    zipped = open_dataset(_zip(tmp_path / "set", tmp_path / "set.zip"))
    assert [item.stem for item in opened.items] == [f"sample-{n:04d}" for n in range(4)]
    assert [item.stem for item in zipped.items] == [item.stem for item in opened.items]
    assert (opened.name, zipped.name) == ("set", "set.zip")
    for one, other in zip(opened.items, zipped.items, strict=True):
        assert one.image.read() == other.image.read()
        assert one.mask.read() == other.mask.read()


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_zip_members_are_read_without_unpacking(folder: Path, tmp_path: Path, method: int) -> None:
    dataset = open_dataset(_zip(folder, tmp_path / "set.zip", method=method))
    image, mask = dataset.read(dataset.items[0])
    with Image.open(folder / "Imgs" / "sample-0000.png") as expected:
        np.testing.assert_array_equal(mask * 255, np.asarray(expected.convert("L")))
    assert image.shape == (*mask.shape, 3)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["set.zip"]


def test_a_zip_of_a_mac_with_resource_forks_is_no_second_place(
    folder: Path, tmp_path: Path
) -> None:
    path = _zip(folder, tmp_path / "set.zip", top="set/")
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("__MACOSX/._sample-0000.jpg", b"fork")
        archive.writestr("set/Imgs/._sample-0000.jpg", b"fork")
    assert len(open_dataset(path)) == 4


def _break(kind: str, folder: Path, tmp_path: Path) -> Path:
    path = tmp_path / "thing"
    if kind == "empty":
        path.mkdir()
    elif kind == "no pairs":
        (path / "sub" / "deeper" / "Imgs").mkdir(parents=True)
        shutil.copytree(folder, path / "sub" / "deeper", dirs_exist_ok=True)
    elif kind == "two sets":
        shutil.copytree(folder, path / "a")
        shutil.copytree(folder, path / "b")
    elif kind == "text":
        path.write_text("no zip")
    elif kind == "truncated zip":
        whole = _zip(folder, tmp_path / "whole.zip").read_bytes()
        path.write_bytes(whole[: len(whole) // 2])
    elif kind == "empty zip":
        _zip(path, path)
    elif kind == "image alone":
        shutil.copytree(folder, path)
        (path / "Imgs" / "sample-0002.png").unlink()
        (path / "Imgs" / "sample-0003.png").unlink()
    elif kind == "mask alone":
        shutil.copytree(folder, path)
        (path / "Imgs" / "sample-0002.jpg").unlink()
    elif kind == "twice":
        shutil.copytree(folder, path)
        shutil.copy(path / "Imgs" / "sample-0001.jpg", path / "Imgs" / "sample-0001.JPEG")
    return path


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        ("missing", "no such file or folder"),
        ("empty", "empty folder, expected Imgs/STEM.jpg"),
        ("no pairs", "no pairs found, expected Imgs/STEM.jpg"),
        ("two sets", "2 folders with images in it: give one of them"),
        ("text", "neither a folder nor a complete zip"),
        ("truncated zip", "neither a folder nor a complete zip"),
        ("empty zip", "no pairs found"),
        ("image alone", "sample-0002.jpg: image without a mask and 1 more like it: see `saldiag"),
        ("mask alone", "sample-0002.png: mask without an image: see `saldiag data check"),
        ("twice", "sample-0001.jpg: a second image of the same name: see `saldiag data check"),
    ],
)
def test_what_cannot_be_opened_ends_in_one_line(
    folder: Path, tmp_path: Path, kind: str, says: str
) -> None:
    path = _break(kind, folder, tmp_path)
    with pytest.raises(DataError) as caught:
        open_dataset(path)
    assert says in str(caught.value)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_unreadable_place_names_the_reason(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        open_dataset(tmp_path / ("x" * 300))


def _damaged(path: Path, how: str) -> MemberRef:
    """A zip with one member of 100,000 bytes, spoilt in a way that the directory does not show."""
    kind = {"unknown": zipfile.ZIP_BZIP2, "stored": zipfile.ZIP_STORED}.get(how)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED if kind is None else kind) as archive:
        archive.writestr("a.jpg", os.urandom(100_000))
    content = bytearray(path.read_bytes())
    if how in {"deflated", "stored"}:
        content[5000:6000] = bytes(1000)
    if how == "header":
        content[0:4] = b"nope"
    path.write_bytes(content)
    with zipfile.ZipFile(path) as archive:
        return MemberRef.from_zip_info(path, archive.infolist()[0])


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ("stored", "damaged"),
        ("deflated", "damaged"),
        ("header", "no header at the offset"),
        ("unknown", "compression method 12 is not supported"),
    ],
)
def test_damaged_members_are_named(tmp_path: Path, how: str, says: str) -> None:
    member = _damaged(tmp_path / "set.zip", how)
    with pytest.raises(DataError, match=says) as caught:
        member.read()
    assert "set.zip:a.jpg" in str(caught.value)


def test_a_member_larger_than_its_header_is_damaged(tmp_path: Path) -> None:
    path = tmp_path / "bomb.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.jpg", bytes(10_000_000))
        info = archive.infolist()[0]
        info.file_size = 10
    with pytest.raises(DataError, match="damaged"):
        MemberRef.from_zip_info(path, info).read()
    info.file_size = 2**40
    with pytest.raises(DataError, match="too many for an image"):
        MemberRef.from_zip_info(path, info).read()
    info.file_size, info.flag_bits = 10, 1
    with pytest.raises(DataError, match="encrypted"):
        MemberRef.from_zip_info(path, info).read()


def test_a_pipe_in_the_place_of_a_picture_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.jpg")
    reader = os.open(tmp_path / "a.jpg", os.O_RDWR)  # so that opening does not wait
    try:
        with pytest.raises(DataError, match="not a regular file"):
            FileRef(tmp_path / "a.jpg").read()
    finally:
        os.close(reader)


def test_hostile_names_stay_on_one_line_and_in_utf8(folder: Path, tmp_path: Path) -> None:
    name = b"a\n\x1b[31m[bold]<b>\xff"
    source = folder / "Imgs"
    for suffix in (".jpg", ".png"):
        content = (source / f"sample-0000{suffix}").read_bytes()
        Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name + suffix.encode())).write_bytes(
            content
        )
    (item,) = open_dataset(tmp_path).items
    assert item.stem.encode("utf-8").endswith(b"[bold]<b>\\xff")
    assert item.image.read()
    shown = str(item.image)
    assert "\n" not in shown
    assert "\x1b" not in shown
    assert "a\\n\\x1b[31m[bold]<b>\\udcff.jpg" in shown
    assert printable("ä \u202e x") == "ä \\u202e x"


@given(st.integers(0, 300), st.integers(0, 5), st.randoms())
def test_split_is_a_partition_in_any_order(count: int, seed: int, random: object) -> None:
    items = _items(count)
    parts = split_items(items, seed)
    everything = [*parts.train, *parts.val, *parts.test]
    assert sorted(item.stem for item in everything) == [item.stem for item in items]
    assert len(parts.val) == len(parts.test) or count == 2
    assert abs(len(parts.val) - 0.1 * count) <= 1
    if count >= 3:
        assert min(len(parts.train), len(parts.val), len(parts.test)) >= 1
    random.shuffle(items)  # type: ignore[attr-defined]
    assert split_items(items, seed) == parts


def test_split_is_the_same_today_and_tomorrow() -> None:
    parts = split_items(_items(20), seed=0)
    assert [item.stem for item in parts.val] == SPLIT_OF_20[:2]
    assert [item.stem for item in parts.test] == SPLIT_OF_20[2:]
    assert split_items(_items(20), seed=1) != parts
    assert [len(split_items(_items(n), 0).train) for n in (0, 1, 2, 3, 10)] == [0, 1, 1, 1, 8]


SPLIT_OF_20 = ["00003", "00013", "00002", "00017"]


@given(
    st.integers(1, 200),
    st.floats(1e-6, 1.0),
    st.floats(1e-6, 1.0),
    st.integers(0, 50),
    st.randoms(),
)
def test_subsets_are_nested_and_at_least_a_batch(
    count: int, one: float, other: float, at_least: int, random: object
) -> None:
    items = _items(count)
    small, large = (take_subset(items, f, at_least=at_least, seed=3) for f in sorted((one, other)))
    assert large[: len(small)] == small
    assert len(small) == min(max(round(min(one, other) * count), at_least, 1), count)
    random.shuffle(items)  # type: ignore[attr-defined]
    assert take_subset(items, max(one, other), at_least=at_least, seed=3) == large


@pytest.mark.parametrize("fraction", [0.0, -0.5, 1.0001, float("nan"), float("inf")])
def test_a_subset_outside_its_range_is_an_error(fraction: float) -> None:
    with pytest.raises(DataError, match="above 0 and at most 1"):
        take_subset(_items(3), fraction)


def test_another_seed_takes_other_items() -> None:
    items = _items(100)
    assert set(take_subset(items, 0.1, seed=0)) != set(take_subset(items, 0.1, seed=1))
    assert set(take_subset(items, 1.0, seed=0)) == set(items)


@pytest.mark.skipif(not REAL.exists(), reason="../shared/data is missing")
def test_real_photographs_open_and_read() -> None:
    dataset = open_dataset(REAL / "ecssd-240")
    assert len(dataset) == 240
    for item in dataset.items[:40]:
        image, mask = dataset.read(item)
        assert image.shape == (*mask.shape, 3)
        assert 0.0 < mask.mean() < 1.0
    with pytest.raises(DataError, match="2 folders with images"):
        list_pairs(REAL)


def test_a_zip_in_memory_order_does_not_matter(folder: Path, tmp_path: Path) -> None:
    names = sorted((folder / "Imgs").iterdir(), reverse=True)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in names:
            archive.write(name, name.name)
    (tmp_path / "set.zip").write_bytes(buffer.getvalue())
    zipped, plain = open_dataset(tmp_path / "set.zip"), open_dataset(folder)
    order = [[i.stem for i in d.split(0).train] for d in (zipped, plain)]
    assert order[0] == order[1]
