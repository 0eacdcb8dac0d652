"""``--features``: a TFRecord's bytes and lists of numbers, as the user tells what they are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from saldiag.app.session.options import Options
from saldiag.core.errors import DataError, SaldiagError
from saldiag.subject.data.tfrecord_features import parse_features

pytestmark = pytest.mark.tensorflow


def written(path: Path, *examples: dict[str, Any]) -> Path:
    import tensorflow as tf

    def feature(value: Any) -> Any:
        if isinstance(value, bytes):
            return tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))
        if isinstance(value[0], float):
            return tf.train.Feature(float_list=tf.train.FloatList(value=value))
        return tf.train.Feature(int64_list=tf.train.Int64List(value=value))

    with tf.io.TFRecordWriter(str(path)) as writer:
        for example in examples:
            features = {name: feature(value) for name, value in example.items()}
            told = tf.train.Example(features=tf.train.Features(feature=features))
            writer.write(told.SerializeToString())
    return path


def opened(path: Path, shape: Any, *features: str, **names: Any) -> Any:
    from saldiag.subject.data.tfrecord import open_tfrecord
    from saldiag.subject.models.input_spec import InputSpec

    spec = InputSpec((("x", shape),), output_shape=(None, 1))
    asked = {"inputs": (), "target": None, "count": None, **names}
    told = parse_features(features)
    return open_tfrecord(path, spec=spec, image_format=pytest.fail, features=told, **asked)


def test_raw_bytes_in_the_shape_and_type_that_are_told(tmp_path: Path) -> None:
    pictures = np.arange(24, dtype=np.uint8).reshape(2, 3, 4, 1)
    path = written(
        tmp_path / "a.tfrecord",
        *({"image": each.tobytes(), "label": [n]} for n, each in enumerate(pictures)),
    )
    with pytest.raises(DataError, match="--features NAME:SHAPE:DTYPE"):
        opened_by_guess(path)
    x, y = opened(path, (None, 3, 4, 1), "image:3x4x1:uint8", "label::int64").read([0, 1])
    assert x.dtype == np.uint8
    assert np.array_equal(x, pictures)
    assert y.tolist() == [0, 1]


def opened_by_guess(path: Path) -> Any:
    from saldiag.subject.data.image_format import image_format_for
    from saldiag.subject.data.tfrecord import open_tfrecord
    from saldiag.subject.models.input_spec import InputSpec

    spec = InputSpec((("x", (None, 3, 4, 1)),), output_shape=(None, 1))
    return open_tfrecord(
        path, (), None, spec, count=None,
        image_format=lambda: image_format_for(spec, None, 3, "unit"),
    )  # fmt: skip


def test_serialized_tensors_hold_their_shape(tmp_path: Path) -> None:
    import tensorflow as tf

    value = np.arange(6, dtype=np.float64).reshape(2, 3)
    path = written(
        tmp_path / "a.tfrecord", {"x": tf.io.serialize_tensor(value).numpy(), "y": [1.0]}
    )
    x, y = opened(path, (None, 2, 3), "x::tensor").read([0])
    assert (x.dtype, x.tolist(), y.tolist()) == (np.float64, [value.tolist()], [1.0])
    with pytest.raises(DataError, match="not a serialized tensor"):
        opened(written(path, {"x": b"\xff", "y": [1.0]}), (None, 2, 3), "x::tensor")


def test_numbers_take_the_shape_and_type_that_are_told(tmp_path: Path) -> None:
    path = written(tmp_path / "a.tfrecord", {"x": [1, 2, 3, 4], "y": [1]})
    x, y = opened(path, (None, 2, 2), "x:2x2:float32", "y::uint8").read([0])
    assert (x.dtype, x.shape, y.dtype) == (np.float32, (1, 2, 2), np.uint8)


@pytest.mark.parametrize(
    ("features", "told"),
    [
        (("x:3x3:float32",), "4 values of float32 do not fill 3x3"),
        (("z::float32",), "z"),
        (("x:2x2:uint7",), "expected NAME:SHAPE:DTYPE"),
        (("x:2xn:uint8",), "expected NAME:SHAPE:DTYPE"),
        (("x:0:uint8",), "expected NAME:SHAPE:DTYPE"),
        (("x:4:object",), "expected NAME:SHAPE:DTYPE"),
        (("x:4:tensor",), "expected NAME:SHAPE:DTYPE"),
        (("x",), "expected NAME:SHAPE:DTYPE"),
        (("x:4:int8", "x:4:int64"), "the same name"),
    ],
)
def test_what_does_not_fit_is_told(features: Any, told: str, tmp_path: Path) -> None:
    path = written(tmp_path / "a.tfrecord", {"x": [1, 2, 3, 4], "y": [1]})
    with pytest.raises(DataError, match=told):
        opened(path, (None, 2, 2), *features)


def test_a_share_of_a_record_is_read_and_no_more(tmp_path: Path) -> None:
    from saldiag.app.loading.batches import read_data
    from saldiag.app.session.request import parse_request
    from saldiag.subject.models.input_spec import InputSpec

    path = written(tmp_path / "a.tfrecord", *({"x": [float(n)], "y": [n % 2]} for n in range(40)))
    spec = InputSpec((("x", (None, 1)),), output_shape=(None, 1))

    def seen(**options: Any) -> list[float]:
        request = parse_request(Options(model="m:f", data=str(path), batch_size=4, **options))
        data, _ = read_data(request.data, spec)
        return sorted(float(x) for b in (*data.batches, *data.validation) for x in np.ravel(b[0]))

    assert max(seen(subset=0.25, items=0)) < 10
    assert len(seen(subset=0.25, items=0)) == 10
    assert max(seen(subset=0.1, items=4)) < 4
    assert max(seen(subset=1.0, items=0)) == 39


def test_features_are_for_records_alone() -> None:
    from saldiag.app.session.option_checks import refuse_unused
    from saldiag.subject.models.spec import parse_data_spec, parse_model_spec

    options = Options(model="m:f", data="m:g", features=("x:4:int8",))
    with pytest.raises(SaldiagError, match=r"--features is for \.tfrecord"):
        refuse_unused(options, parse_model_spec("m:f"), parse_data_spec("m:g"))
