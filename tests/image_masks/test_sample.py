"""The built-in sample: deterministic, hard enough, and written whole or not at all."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from saldiag.core.errors import DataError
from saldiag.image_masks import sample
from saldiag.image_masks.msra10k import open_dataset
from saldiag.image_masks.sample import GREY_EVERY, cached_sample, write_sample
from tests.support.command_line import run_python

Array = np.ndarray[Any, Any]
SIDE = 64


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sample") / "set"
    assert write_sample(path, count=60, size=(90, 160)) == 60
    return path


@pytest.fixture(scope="module")
def pairs(written: Path) -> tuple[Array, Array]:
    """Grey images (N, S, S) of 0 to 255 and masks (N, S, S) of 0 and 1."""
    dataset = open_dataset(written)
    images, masks = [], []
    for item in dataset.items:
        image, mask = dataset.read(item)
        images.append(np.asarray(Image.fromarray(image).convert("L").resize((SIDE, SIDE))))
        masks.append(
            np.asarray(Image.fromarray(mask).resize((SIDE, SIDE), Image.Resampling.NEAREST))
        )
    return np.stack(images), np.stack(masks).astype(float)


def _f_beta(predicted: Array, truth: Array) -> float:
    """Mean F-beta with beta² = 0.3 of binary predictions (N, S, S)."""
    hits = (predicted * truth).sum((1, 2))
    precision = hits / np.maximum(predicted.sum((1, 2)), 1)
    recall = hits / truth.sum((1, 2))
    return float(np.mean(1.3 * precision * recall / np.maximum(0.3 * precision + recall, 1e-9)))


def test_the_same_seed_draws_the_same_and_another_does_not(tmp_path: Path) -> None:
    for name, seed, count in (("a", 0, 3), ("b", 0, 5), ("c", 1, 3)):
        write_sample(tmp_path / name, count=count, seed=seed, size=(40, 60))
    content = {
        name: [file.read_bytes() for file in sorted((tmp_path / name / "Imgs").iterdir())]
        for name in "abc"
    }
    assert content["a"] == content["b"][:6]
    assert not set(content["a"]) & set(content["c"])


def test_layout_sizes_and_masks(written: Path) -> None:
    files = sorted(path.name for path in (written / "Imgs").iterdir())
    assert files == [f"sample-{n:04d}.{suffix}" for n in range(60) for suffix in ("jpg", "png")]
    assert [path.name for path in written.iterdir()] == ["Imgs"]
    assert stat.S_IMODE((written / "Imgs").stat().st_mode) == stat.S_IMODE(written.stat().st_mode)
    sizes, grey = set(), 0
    for number in range(60):
        stem = written / "Imgs" / f"sample-{number:04d}"
        with (
            Image.open(stem.with_suffix(".jpg")) as image,
            Image.open(stem.with_suffix(".png")) as mask,
        ):
            assert image.size == mask.size
            assert set(np.unique(np.asarray(mask.convert("L")))) == {0, 255}
            sizes.add(image.size)
            grey += image.mode == "L"
    assert len(sizes) > 50
    assert any(width % 2 for width, _ in sizes)
    assert grey == 60 // GREY_EVERY


def test_masks_guessed_without_the_picture_score_low(pairs: tuple[Array, Array]) -> None:
    _, masks = pairs
    mean = np.broadcast_to(masks.mean(axis=0), masks.shape)
    assert np.abs(masks - mean).mean() > 0.25
    assert min(np.abs(masks - value).mean() for value in np.linspace(0, 1, 11)) > 0.15
    guesses = (_f_beta((mean >= level).astype(float), masks) for level in np.linspace(0, 0.9, 19))
    assert max(guesses) < 0.5
    assert 0.1 < masks.mean() < 0.35
    y, x = np.nonzero(masks.sum(axis=0))
    assert np.ptp(y) == np.ptp(x) == SIDE - 1  # objects lie anywhere


def test_thresholds_of_brightness_score_low(pairs: tuple[Array, Array]) -> None:
    images, masks = pairs
    levels = range(0, 256, 8)
    brighter = [_f_beta((images >= level).astype(float), masks) for level in levels]
    darker = [_f_beta((images < level).astype(float), masks) for level in levels]
    assert max(brighter + darker) < 0.5


def test_objects_differ_from_their_ground_in_colour(written: Path) -> None:
    dataset = open_dataset(written)
    for number, item in enumerate(dataset.items):
        if number % GREY_EVERY == GREY_EVERY - 1:
            continue
        image, mask = dataset.read(item)
        shares = image / (image.sum(axis=2, keepdims=True) + 1.0)
        difference = shares[mask == 1].mean(axis=0) - shares[mask == 0].mean(axis=0)
        assert np.linalg.norm(difference) > 0.1  # with the ground's hue, half are below 0.08


def test_a_directory_that_holds_something_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(DataError, match="is not empty: choose a new or empty directory"):
        write_sample(tmp_path, count=1, size=(40, 40))
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
    with pytest.raises(DataError, match="is a file: choose another"):
        write_sample(tmp_path / "mine.txt", count=1, size=(40, 40))
    with pytest.raises(DataError, match="cannot be written"):
        write_sample(tmp_path / "mine.txt" / "below", count=1, size=(40, 40))
    assert (tmp_path / "mine.txt").read_text() == "mine"


def test_a_failure_while_writing_leaves_no_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(folder: Path, number: int, seed: int, size: tuple[int, int]) -> None:
        (folder / "half").write_text("half")
        if number == 2:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(sample, "_write_pair", fail)
    with pytest.raises(DataError, match=r"set: cannot be written \(No space left on device\)"):
        write_sample(tmp_path / "set", count=5)
    assert not (tmp_path / "set").exists()
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError):
        write_sample(tmp_path / "empty", count=5)
    assert list((tmp_path / "empty").iterdir()) == []


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache directory of our own, and a sample that is quick to draw."""
    monkeypatch.setattr(sample.platformdirs, "user_cache_dir", lambda *a, **k: str(tmp_path / "c"))
    monkeypatch.setattr(sample.tempfile, "tempdir", str(tmp_path))
    real = write_sample
    monkeypatch.setattr(sample, "write_sample", lambda place: real(place, count=3, size=(40, 50)))
    return tmp_path / "c"


def _stamps(place: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in (place / "Imgs").iterdir()}


def test_the_cached_sample_is_written_once_and_repaired(cache: Path) -> None:
    place = cached_sample()
    assert place.parent == cache
    first = _stamps(place)
    assert _stamps(cached_sample()) == first
    (place / "Imgs" / "sample-0001.jpg").write_bytes(b"damaged")
    assert cached_sample() == place
    assert len(open_dataset(None)) == 3
    assert open_dataset(None).name == "built-in sample"
    open_dataset(None).read(open_dataset(None).items[1])
    (place / "Imgs" / "sample-0001.png").unlink()
    assert len(_stamps(cached_sample())) == 6
    (place / "sample.sha256").unlink()
    assert len(_stamps(cached_sample())) == 6
    assert [path.name for path in cache.iterdir()] == [place.name]  # no temporary left


def test_without_a_cache_a_temporary_directory_serves(cache: Path) -> None:
    cache.write_text("a file where the cache should be")
    place = cached_sample()
    assert place.name.startswith("saldiag-sample-")
    assert len(list((place / "Imgs").iterdir())) == 6
    assert cache.is_file()


def test_two_processes_at_once_share_one_sample(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = sample.write_sample

    def overtaken(place: Path) -> int:
        monkeypatch.setattr(sample, "write_sample", slow)
        cached_sample()  # the other process, which is faster
        return slow(place)  # type: ignore[call-arg]

    monkeypatch.setattr(sample, "write_sample", overtaken)
    place = cached_sample()
    assert sample._is_whole(place)
    assert [path.name for path in cache.iterdir()] == [place.name]


def test_a_forked_child_keeps_the_temporary_directory(tmp_path: Path) -> None:
    code = """
import os
from pathlib import Path
from saldiag.image_masks.sample import cached_sample
place = cached_sample()
if os.fork() == 0:
    raise SystemExit
os.wait()
print(place, place.is_dir())
"""
    (tmp_path / "file").touch()
    variables = {**os.environ, "XDG_CACHE_HOME": str(tmp_path / "file"), "TMPDIR": str(tmp_path)}
    done = run_python(code, env=variables)
    place, there = done.stdout.split()
    assert Path(place).parent == tmp_path
    assert there == "True"
    assert not Path(place).exists(), "deleted at the end of the process"
