"""Pictures by class, pairs of image and mask, and TFRecords, as a model takes them."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from saldiag.core.errors import DataError

pytestmark = pytest.mark.tensorflow

RED = (200, 0, 0)


def picture(path: Path, colour: Any = RED, size: tuple[int, int] = (10, 8)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB" if isinstance(colour, tuple) else "L", size, colour).save(path)
    return path


def takes(shape: Any, output: Any = None, **known: Any) -> Any:
    from saldiag.subject.models.input_spec import InputSpec

    return InputSpec((("image", shape),), output, **known)


def frame(wanted: Any, size: int | None = None, pixels: str = "auto") -> Any:
    from saldiag.subject.data.image_format import image_format_for

    return image_format_for(wanted, size, 24, pixels)


def test_the_frame_is_the_models() -> None:
    own = frame(takes((None, 6, 7, 1), (None, 3, 4, 1)))
    assert (own.size, own.channels, own.mask_size) == ((6, 7), 1, (3, 4))
    free = frame(takes((None, None, None, 3)))
    assert (free.size, free.channels, free.mask_size) == ((24, 24), 3, (24, 24))
    assert frame(takes((None, None, None, 3)), 16).size == (16, 16)


def test_the_range_is_that_of_the_model_unless_it_is_said() -> None:
    wanted = takes((None, 4, 4, 3), rescales_inputs=True)
    assert frame(wanted).pixel_range == (0, 255)
    assert "the model rescales its inputs" in frame(wanted).notes[0]
    assert frame(takes((None, 4, 4, 3))).pixel_range == (0, 1)
    signed = frame(wanted, pixels="signed")
    assert signed.notes == ()
    np.testing.assert_allclose(signed.scale_pixels([0, 255]), [-1, 1])


@pytest.mark.parametrize(
    ("shape", "size", "said"),
    [
        ((None, 4), None, r"the model expects \(None, 4\)"),
        ((None, 3, 32, 32), None, r"the model expects \(None, 3, 32, 32\)"),
        ((None, 32, 32, 3), 64, "--image-size 64: the model expects 32x32 pixels"),
    ],
)
def test_a_model_that_takes_no_such_pictures(shape: Any, size: Any, said: str) -> None:
    with pytest.raises(DataError, match=said):
        frame(takes(shape), size)


def classes(root: Path, wanted: Any) -> Any:
    from saldiag.subject.data.class_folder import open_class_folder

    return open_class_folder(root, frame(wanted), wanted)


def test_a_folder_for_each_class(tmp_path: Path) -> None:
    picture(tmp_path / "dogs" / "a.png", (255, 255, 255))
    picture(tmp_path / "cats" / "b.jpg", (0, 0, 0))
    items = classes(tmp_path, takes((None, 4, 5, 3), (None, 2)))
    x, y = items.read([1, 0])
    assert (x.shape, x.dtype, y.tolist()) == ((2, 4, 5, 3), np.float32, [1, 0])
    assert x[0].min() == 1.0
    assert x[1].max() == 0.0
    assert [items.name_of(0), items.name_of(1)] == ["cats/b.jpg", "dogs/a.png"]
    grey, y = classes(tmp_path, takes((None, 4, 5, 1), (None, 1))).read([0, 1])
    assert (grey.shape, y.tolist()) == ((2, 4, 5, 1), [[0.0], [1.0]])


def test_a_broken_picture_is_named(tmp_path: Path) -> None:
    picture(tmp_path / "cats" / "a.png")
    picture(tmp_path / "dogs" / "b.png").write_bytes(b"\x89PNG no more")
    items = classes(tmp_path, takes((None, 4, 4, 3)))
    items.read([0])
    with pytest.raises(DataError, match=r"dogs/b.png: damaged, or not an image"):
        items.read([1])


def test_more_classes_than_the_model_tells(tmp_path: Path) -> None:
    for name in "abc":
        picture(tmp_path / name / "a.png")
    with pytest.raises(DataError, match=r"3 classes, but the model's output has shape \(None, 2\)"):
        classes(tmp_path, takes((None, 4, 4, 3), (None, 2)))


def pairs(root: Path, wanted: Any) -> Any:
    from saldiag.app.loading.image_mask_pairs import pairs_as_items
    from saldiag.image_masks.msra10k import open_dataset

    return pairs_as_items(open_dataset(root).items, frame(wanted), wanted)


def test_images_beside_masks_at_any_size(tmp_path: Path) -> None:
    picture(tmp_path / "images" / "one.png")
    picture(tmp_path / "masks" / "one_mask.png", 255)
    items = pairs(tmp_path, takes((None, 6, 4, 3), (None, 3, 2, 1)))
    x, y = items.read([0])
    assert (x.shape, y.shape) == ((1, 6, 4, 3), (1, 3, 2, 1))
    np.testing.assert_allclose(x[0, 0, 0], [200 / 255, 0, 0])
    assert set(y.ravel()) == {1.0}
    assert (items.pixel_range, items.name_of(0)) == ((0, 1), "one")


def test_masks_of_zero_and_one(tmp_path: Path) -> None:
    picture(tmp_path / "images" / "a.jpg")
    picture(tmp_path / "masks" / "a.png", 1)
    assert pairs(tmp_path, takes((None, 4, 4, 3))).read([0])[1].min() == 1.0


def test_masks_of_class_numbers(tmp_path: Path) -> None:
    picture(tmp_path / "images" / "a.jpg")
    picture(tmp_path / "images" / "b.jpg")
    picture(tmp_path / "masks" / "a.png", 2)
    indexed = Image.new("P", (10, 8), 1)
    indexed.putpalette([0, 0, 0, 128, 0, 0, 0, 128, 0])
    indexed.save(tmp_path / "masks" / "b.png")
    wanted = takes((None, 4, 4, 3), (None, 4, 4, 3))
    items = pairs(tmp_path, wanted)
    _, y = items.read([0, 1])
    assert (y.shape, y[0].max(), y[1].min(), items.pixel_range) == ((2, 4, 4), 2, 1, None)
    _, y = pairs(tmp_path, takes((None, 4, 4, 3), (None, 4, 4, 3), expects_one_hot=True)).read([1])
    assert y[0, 0, 0].tolist() == [0, 1, 0]


def test_a_class_that_the_model_does_not_tell(tmp_path: Path) -> None:
    picture(tmp_path / "images" / "a.jpg")
    picture(tmp_path / "masks" / "a.png", 255)
    with pytest.raises(DataError, match=r"masks/a.png: contains class 255, .*3 classes"):
        pairs(tmp_path, takes((None, 4, 4, 3), (None, 4, 4, 3))).read([0])
    ignoring = takes((None, 4, 4, 3), (None, 4, 4, 3), ignored_class=255)
    assert pairs(tmp_path, ignoring).read([0])[1].max() == 255


@pytest.mark.parametrize(
    ("files", "said"),
    [
        (["images/a.jpg", "masks/b.png"], "image without a mask and 1 more"),
        (["images/a.jpg", "images/a.png", "masks/a.png"], "a second image of the same name"),
        (["images/a.jpg", "masks/a.png", "masks/a_mask.png"], "a second mask of the same name"),
        (["images/a.gif", "masks/a.bmp"], "no JPEG or PNG in images/ and masks/"),
    ],
)
def test_images_and_masks_that_do_not_match(files: list[str], said: str, tmp_path: Path) -> None:
    for name in files:
        picture(tmp_path / name)
    with pytest.raises(DataError, match=said):
        pairs(tmp_path, takes((None, 4, 4, 3)))


def example(**features: Any) -> bytes:
    import tensorflow as tf

    def feature(value: Any) -> Any:
        if isinstance(value[0], bytes):
            return tf.train.Feature(bytes_list=tf.train.BytesList(value=value))
        if isinstance(value[0], int):
            return tf.train.Feature(int64_list=tf.train.Int64List(value=value))
        return tf.train.Feature(float_list=tf.train.FloatList(value=value))

    made = {name.replace("__", "/"): feature(value) for name, value in features.items()}
    content: bytes = tf.train.Example(features=tf.train.Features(feature=made)).SerializeToString()
    return content


def record(path: Path, *contents: bytes) -> Path:
    import tensorflow as tf

    with tf.io.TFRecordWriter(str(path)) as writer:
        for content in contents:
            writer.write(content)
    return path


def tfrecord(path: Path, wanted: Any, *, count: int | None = None, **names: Any) -> Any:
    from saldiag.subject.data.tfrecord import open_tfrecord

    asked = {"inputs": (), "target": None, **names}
    return open_tfrecord(
        path, spec=wanted, count=count, image_format=lambda: frame(wanted), **asked
    )


def test_numbers_in_the_shape_of_the_models_input(tmp_path: Path) -> None:
    one, two = (example(image=[float(i)] * 12, label=[i], height=[2]) for i in (1, 2))
    items = tfrecord(record(tmp_path / "a.tfrecord", one, two), takes((None, 2, 2, 3)))
    x, y = items.read([1])
    assert (x.shape, x.dtype, y.tolist()) == ((1, 2, 2, 3), np.float32, [2])
    assert "input image, target label" in items.notes[0]
    assert tfrecord(tmp_path / "a.tfrecord", takes((None, 12)), count=1).count == 1


def test_single_numbers_are_columns(tmp_path: Path) -> None:
    path = record(tmp_path / "a.tfrecord", example(a=[1.0], b=[2.0], cost=[3.0]))
    x, y = tfrecord(path, takes((None, 2)), target="cost").read([0])
    assert (x.tolist(), y.tolist()) == ([[1, 2]], [3])
    x, _ = tfrecord(path, takes((None, 1)), target="cost", inputs=("b",)).read([0])
    assert x.tolist() == [[2]]


def test_pictures_in_a_folder_of_compressed_parts(tmp_path: Path) -> None:
    content = picture(tmp_path / "a.png").read_bytes()
    for part in range(2):
        plain = record(tmp_path / "plain", example(image__encoded=[content], label=[part]))
        packed = gzip.compress(plain.read_bytes())
        (tmp_path / f"t.tfrecord-0000{part}-of-00002").write_bytes(packed)
    items = tfrecord(tmp_path, takes((None, 4, 4, 3)))
    x, y = items.read([0, 1])
    assert (x.shape, y.tolist()) == ((2, 4, 4, 3), [0, 1])
    np.testing.assert_allclose(x[0, 0, 0], [200 / 255, 0, 0], atol=1e-6)
    assert any("pixel range 0 to 1" in note for note in items.notes)


def test_masks_in_records(tmp_path: Path) -> None:
    image = picture(tmp_path / "a.png").read_bytes()
    mask = picture(tmp_path / "b.png", 255).read_bytes()
    path = record(tmp_path / "a.tfrecord", example(image=[image], mask=[mask]))
    _, y = tfrecord(path, takes((None, 6, 4, 3), (None, 3, 2, 1))).read([0])
    assert (y.shape, y.min()) == ((1, 3, 2, 1), 1.0)
    with pytest.raises(DataError, match=r"mask of example 1: contains class 255"):
        tfrecord(path, takes((None, 6, 4, 3), (None, 3, 2, 5)))


@pytest.mark.parametrize(
    ("features", "names", "said"),
    [
        ([{"a": [1.0], "b": [2.0]}], {}, "the target feature is not known.*it has a, b"),
        ([{"a": [1.0], "label": [1]}], {"target": "lable"}, "did you mean label"),
        ([{"a": [1.0], "label": [1]}], {"inputs": ("c",)}, "has no c, which --inputs"),
        ([{"label": [1]}], {}, "no feature is left as input"),
        ([{"a": [b"\0\1"], "label": [1]}], {}, "feature a: bytes that are not a JPEG"),
        ([{"a": [b"\x89PNG"], "label": [1]}], {}, "feature a: damaged image"),
        ([{"a": [1.0], "label": [1]}, {"a": [1.0, 2.0], "label": [1]}], {}, "varying lengths"),
        ([{"a": [1.0], "label": [1]}, {"label": [1]}], {}, "or missing"),
        ([{"a": [1.0, 2.0], "b": [1.0], "label": [1]}], {}, "--inputs NAME,NAME .it has a"),
    ],
)
def test_features_that_cannot_be_guessed(
    features: list[dict[str, Any]], names: dict[str, Any], said: str, tmp_path: Path
) -> None:
    path = record(tmp_path / "a.tfrecord", *(example(**each) for each in features))
    with pytest.raises(DataError, match=said):
        tfrecord(path, takes((None, None, None, 3)), **names)


@pytest.mark.parametrize("content", [b"text that is no record at all", b"", b"\x1f\x8bno gzip"])
def test_a_file_that_holds_no_records(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.tfrecord").write_bytes(content)
    with pytest.raises(DataError, match=r"damaged, or not a TFRecord file|contains no examples"):
        tfrecord(tmp_path / "a.tfrecord", takes((None, 1)))


@pytest.mark.parametrize("content", [b"no protocol buffer", b""])
def test_records_of_something_else(content: bytes, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"contains .* tf.train.Example"):
        tfrecord(record(tmp_path / "a.tfrecord", content), takes((None, 1)))
