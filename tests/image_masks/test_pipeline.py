"""The tf.data pipeline: decoding, orientation, order, cache, errors."""

from __future__ import annotations

import io
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageOps

from saldiag.core.errors import DataError
from saldiag.image_masks.msra10k import PairedDataset, open_dataset
from saldiag.image_masks.sample import write_sample

pytestmark = [pytest.mark.tensorflow, pytest.mark.slow]

REAL = Path(__file__).parents[3] / "shared" / "data"
Array = np.ndarray[Any, Any]


@pytest.fixture(scope="module")
def pipeline() -> Any:
    from saldiag.image_masks import pipeline

    return pipeline


@pytest.fixture(scope="module")
def tf() -> Any:
    import tensorflow as tf

    return tf


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> PairedDataset:
    path = tmp_path_factory.mktemp("sample") / "set"
    write_sample(path, count=11, size=(40, 71))
    return open_dataset(path)


def _exif(orientation: int, endian: str, tail: bool = False) -> bytes:
    """An Exif block whose tag is not the first; ``tail`` puts the directory far behind."""
    where = 200 if tail else 8
    mark = b"II*\0" if endian == "<" else b"MM\0*"
    entries = struct.pack(f"{endian}HHII", 0x010F, 2, 4, 0) + struct.pack(
        f"{endian}HHIHH", 0x0112, 3, 1, orientation, 0
    )
    directory = struct.pack(f"{endian}H", 2) + entries + struct.pack(f"{endian}I", 0)
    return b"Exif\0\0" + mark + struct.pack(f"{endian}I", where) + bytes(where - 8) + directory


def _jpeg(image: Array, exif: bytes | None = None, **options: Any) -> bytes:
    buffer = io.BytesIO()
    extra = {} if exif is None else {"exif": exif}
    Image.fromarray(image).save(buffer, "JPEG", quality=95, **extra, **options)
    return buffer.getvalue()


def _png(image: Any) -> bytes:
    buffer = io.BytesIO()
    picture = image if isinstance(image, Image.Image) else Image.fromarray(image)
    picture.save(buffer, "PNG")
    return buffer.getvalue()


def _smooth(height: int, width: int) -> Array:
    """A picture without symmetry, smooth enough that JPEG and resizing hardly change it."""
    y, x = np.linspace(0, 1, height)[:, None], np.linspace(0, 1, width)[None, :]
    planes = (200 * y + 20 + 0 * x, 180 * x + 0 * y + 30, 90 * x + 100 * y)
    return np.stack(planes, axis=-1).astype(np.uint8)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("endian", ["<", ">"])
@pytest.mark.parametrize("tail", [False, True])
def test_exif_orientation_agrees_with_pillow(
    pipeline: Any, orientation: int, endian: str, tail: bool
) -> None:
    content = _jpeg(_smooth(61, 93), _exif(orientation, endian, tail))
    assert int(pipeline.jpeg_orientation(content)) == orientation
    with Image.open(io.BytesIO(content)) as picture:
        assert picture.getexif()[0x0112] == orientation
        expected = ImageOps.exif_transpose(picture).resize((32, 32), Image.Resampling.BILINEAR)
    found = pipeline._decode_image(content, 32).numpy().astype(int)
    assert np.abs(found - np.asarray(expected, int)).max() <= 4


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff\xd8",
        b"\xff\xd8\xff",
        b"\xff\xd8\xff\xe1\x00\x08Exif\0\0",
        b"\xff\xd8\xff\xe1\x00\x0aExif\0\0II",
        b"\xff\xd8\xff\xe1\x00\x10Exif\0\0II*\0\xff\xff\xff\xff",
        b"\xff\xd8\xff\xe1\x00\x12Exif\0\0II*\0\x08\0\0\0\xff\xff",
        b"\xff\xd8\xff\xe1\x00\x00",
        b"\xff\xd8\xff\xe1\xff\xffExif",
        b"\x89PNG\r\n\x1a\n",
        _exif(6, "<"),
    ],
)
def test_orientation_of_rubbish_is_upright(pipeline: Any, content: bytes) -> None:
    assert int(pipeline.jpeg_orientation(content)) == 1


@pytest.mark.parametrize("value", [0, 9, 65535])
def test_orientation_outside_one_to_eight_is_upright(pipeline: Any, value: int) -> None:
    assert int(pipeline.jpeg_orientation(_jpeg(_smooth(9, 9), _exif(value, "<")))) == 1


def test_orientation_is_found_behind_other_metadata(pipeline: Any) -> None:
    content = _jpeg(_smooth(9, 9), _exif(8, ">"), comment=b"x" * 70)
    jfif = b"\xff\xe0" + struct.pack(">H", 16) + b"JFIF\0" + bytes(9)
    profile = b"\xff\xe2" + struct.pack(">H", 60002) + bytes(60000)
    assert int(pipeline.jpeg_orientation(b"\xff\xd8" + jfif + profile + content[2:])) == 8


@pytest.mark.parametrize("size", [(400, 300), (100, 75), (31, 57), (1000, 700), (1200, 40), (1, 1)])
def test_resizing_is_close_to_an_antialiased_reference(
    pipeline: Any, size: tuple[int, int]
) -> None:
    image = _smooth(*size)
    expected = Image.fromarray(image).resize((64, 64), Image.Resampling.BILINEAR)
    found = pipeline._decode_image(_jpeg(image), 64).numpy().astype(int)
    assert np.abs(found - np.asarray(expected, int)).mean() < 3.0


def test_thin_texture_averages_out_instead_of_aliasing(pipeline: Any) -> None:
    stripes = np.zeros((40, 1200, 3), np.uint8)
    stripes[:, ::2] = 255
    found = pipeline._decode_image(_jpeg(stripes), 32).numpy()
    assert 110 < found.min() <= found.max() < 145


@pytest.mark.parametrize(
    "make",
    [
        lambda: _jpeg(_smooth(50, 41)[..., 0]),
        lambda: _jpeg(_smooth(50, 41), progressive=True),
        lambda: _png(_smooth(50, 41)),
        lambda: _png(Image.fromarray(_smooth(50, 41)).quantize(64, dither=Image.Dither.NONE)),
    ],
    ids=["greyscale", "progressive", "png", "palette"],
)
def test_unusual_images_decode_as_pillow_does(pipeline: Any, make: Callable[[], bytes]) -> None:
    content = make()
    with Image.open(io.BytesIO(content)) as picture:
        expected = picture.convert("RGB").resize((32, 32), Image.Resampling.BILINEAR)
    found = pipeline._decode_image(content, 32).numpy().astype(int)
    assert np.abs(found - np.asarray(expected, int)).mean() < 3.0


def _mask_picture(mode: str) -> Image.Image:
    levels = np.zeros((37, 53), np.uint8)
    levels[5:20, 8:40] = 255
    if mode == "I;16":
        return Image.fromarray(levels.astype(np.uint16) * 257)
    return Image.fromarray(levels).convert(mode)


@pytest.mark.parametrize("mode", ["L", "1", "RGB", "P", "LA", "RGBA", "I;16"])
def test_masks_of_every_mode_are_read_alike(pipeline: Any, tmp_path: Path, mode: str) -> None:
    from saldiag.image_masks.decode import mask_levels

    content = _png(_mask_picture(mode))
    found = pipeline._decode_mask(content, 37).numpy()[..., 0]
    with Image.open(io.BytesIO(content)) as picture:
        levels = mask_levels(picture)
    columns = ((np.arange(37) + 0.5) * 53 / 37).astype(int)
    np.testing.assert_array_equal(found, (levels >= 128)[:, columns])
    assert found.sum() > 0


def test_the_threshold_of_a_mask_is_128(pipeline: Any) -> None:
    content = _png(np.array([[0, 127], [128, 255]], np.uint8))
    assert pipeline._decode_mask(content, 2).numpy()[..., 0].tolist() == [[0, 0], [1, 1]]


def test_arrays_and_batches_hold_the_same_in_range(pipeline: Any, sample: PairedDataset) -> None:
    images, masks = pipeline.load_arrays(sample.items, 32)
    assert images.shape == (11, 32, 32, 3)
    assert masks.shape == (11, 32, 32, 1)
    assert images.dtype == masks.dtype == np.float32
    assert images.min() >= -1.0
    assert images.max() <= 1.0
    assert set(np.unique(masks)) == {0.0, 1.0}
    for cache in (True, False):
        dataset = pipeline.make_dataset(sample.items, 32, 4, cache=cache)
        assert int(dataset.cardinality()) == 3
        batches = list(dataset.as_numpy_iterator())
        assert [len(batch[0]) for batch in batches] == [4, 4, 3]
        np.testing.assert_allclose(np.concatenate([b[0] for b in batches]), images, atol=1e-6)
        np.testing.assert_array_equal(np.concatenate([b[1] for b in batches]), masks)
        spec = dataset.element_spec[0].shape.as_list(), dataset.element_spec[1].shape.as_list()
        assert spec == ([None, 32, 32, 3], [None, 32, 32, 1])


def test_a_zip_gives_the_same_as_its_folder(
    pipeline: Any, sample: PairedDataset, tmp_path: Path
) -> None:
    with zipfile.ZipFile(tmp_path / "set.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for item in sample.items:
            archive.write(item.image.path, f"Imgs/{item.stem}.jpg")  # type: ignore[union-attr]
            archive.write(item.mask.path, f"Imgs/{item.stem}.png", zipfile.ZIP_STORED)  # type: ignore[union-attr]
    zipped = open_dataset(tmp_path / "set.zip")
    one = pipeline.make_dataset(sample.items, 32, 4, cache=False, shuffle_seed=1)
    other = pipeline.make_dataset(zipped.items, 32, 4, cache=False, shuffle_seed=1)
    for a, b in zip(one.as_numpy_iterator(), other.as_numpy_iterator(), strict=True):
        np.testing.assert_array_equal(a[0], b[0])
        np.testing.assert_array_equal(a[1], b[1])


def test_epochs_are_a_function_of_seed_and_number(
    pipeline: Any, sample: PairedDataset, tf: Any
) -> None:
    def masks(batches: int, **options: Any) -> Array:
        dataset = pipeline.make_dataset(sample.items, 32, 4, shuffle_seed=5, **options)
        return np.concatenate([m for _, m in dataset.take(batches).as_numpy_iterator()])

    tf.random.set_seed(1)
    three = masks(9, repeat=True, cache=True)
    tf.random.set_seed(2)
    uncached = masks(9, repeat=True, cache=False)
    np.testing.assert_array_equal(three, uncached)
    np.testing.assert_array_equal(three[22:], masks(3, repeat=True, first_epoch=2))
    np.testing.assert_array_equal(three[11:22], masks(3, first_epoch=1))
    assert (three[:11] != three[11:22]).any()
    np.testing.assert_array_equal(
        np.sort(three[:11].sum((1, 2, 3))), np.sort(three[11:22].sum((1, 2, 3)))
    )


def test_repeating_keeps_epochs_apart_and_has_infinite_cardinality(
    pipeline: Any, sample: PairedDataset, tf: Any
) -> None:
    dataset = pipeline.make_dataset(sample.items, 32, 4, repeat=True)
    assert int(dataset.cardinality()) == tf.data.INFINITE_CARDINALITY
    sizes = [len(image) for image, _ in dataset.take(7).as_numpy_iterator()]
    assert sizes == [4, 4, 3, 4, 4, 3, 4]
    full = pipeline.make_dataset(sample.items, 32, 4, repeat=True, drop_remainder=True)
    assert [len(image) for image, _ in full.take(4).as_numpy_iterator()] == [4, 4, 4, 4]
    with pytest.raises(DataError, match="11 pairs are too few for a batch of 12"):
        pipeline.make_dataset(sample.items, 32, 12, drop_remainder=True)


def test_the_cache_needs_the_files_no_more(pipeline: Any, tmp_path: Path) -> None:
    write_sample(tmp_path / "set", count=3, size=(33, 40))
    dataset = pipeline.make_dataset(open_dataset(tmp_path / "set").items, 32, 2, cache=True)
    for path in (tmp_path / "set" / "Imgs").iterdir():
        path.unlink()
    assert sum(len(image) for image, _ in dataset.as_numpy_iterator()) == 3


def test_auto_caches_up_to_a_quarter_of_the_memory(
    pipeline: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    needed = 4 * 10 * 32 * 32
    for available, fits in ((4 * needed, True), (4 * needed - 1, False), (None, False)):
        monkeypatch.setattr(pipeline, "available_memory", lambda value=available: value)
        assert pipeline._fits_in_memory(10, 32) is fits
    monkeypatch.undo()
    assert (pipeline.available_memory() or 0) > 2**20


def _spoil(path: Path, how: str) -> None:
    content = path.read_bytes()
    if how == "truncated":
        path.write_bytes(content[: len(content) // 2])
    elif how == "nearly whole":
        path.write_bytes(content[:-2])
    elif how == "text":
        path.write_text("no picture")
    elif how == "gone":
        path.unlink()
    elif how == "inner":  # passes the quick look: only decoding finds it
        middle = len(content) // 2
        path.write_bytes(content[:middle] + bytes(20) + content[middle + 20 :])


@pytest.mark.parametrize("cache", [True, False])
@pytest.mark.parametrize("how", ["truncated", "nearly whole", "text", "gone"])
@pytest.mark.parametrize("suffix", ["jpg", "png"])
def test_a_bad_file_ends_in_one_line_that_names_it(
    pipeline: Any, tmp_path: Path, suffix: str, how: str, cache: bool
) -> None:
    write_sample(tmp_path / "set", count=3, size=(33, 40))
    items = open_dataset(tmp_path / "set").items
    _spoil(tmp_path / "set" / "Imgs" / f"sample-0001.{suffix}", how)
    with pytest.raises(DataError) as caught:
        pipeline.make_dataset(items, 32, 2, cache=cache)
    assert f"sample-0001.{suffix}: " in str(caught.value)
    assert "\n" not in str(caught.value)


def test_damage_that_only_decoding_finds_is_named_too(pipeline: Any, tmp_path: Path) -> None:
    write_sample(tmp_path / "set", count=3, size=(80, 90))
    items = open_dataset(tmp_path / "set").items
    _spoil(tmp_path / "set" / "Imgs" / "sample-0002.png", "inner")
    with pytest.raises(DataError, match=r"sample-0002\.png: damaged"):
        pipeline.load_arrays(items, 32)


def test_a_picture_that_would_exhaust_memory_is_refused(
    pipeline: Any, tmp_path: Path, tf: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_sample(tmp_path / "set", count=1, size=(33, 40))
    header = struct.pack(">II5B", 60000, 60000, 8, 0, 0, 0, 0)
    path = tmp_path / "set" / "Imgs" / "sample-0000.png"
    content = path.read_bytes()
    huge = content[:16] + header + content[29:]
    path.write_bytes(huge)
    with pytest.raises(DataError, match=r"sample-0000\.png"):
        pipeline.load_arrays(open_dataset(tmp_path / "set").items, 32)
    monkeypatch.setattr(pipeline, "MAX_PIXELS", 33 * 33 - 1)
    for decode, suffix in ((pipeline._decode_mask, "png"), (pipeline._decode_image, "jpg")):
        with pytest.raises(tf.errors.InvalidArgumentError, match="to be true"):
            decode((content if suffix == "png" else path.with_suffix(".jpg").read_bytes()), 32)


@pytest.mark.skipif(not REAL.exists(), reason="../shared/data is missing")
def test_real_photographs_agree_with_pillow(pipeline: Any) -> None:
    dataset = open_dataset(REAL / "ecssd-240")
    items = dataset.items[:24]
    images, masks = pipeline.load_arrays(items, 224)
    for item, image, mask in zip(items, images, masks, strict=True):
        picture, expected = dataset.read(item)
        reference = Image.fromarray(picture).resize((224, 224), Image.Resampling.BILINEAR)
        assert np.abs((image + 1) * 127.5 - np.asarray(reference, float)).mean() < 6.0
        assert abs(mask.mean() - expected.mean()) < 0.01
