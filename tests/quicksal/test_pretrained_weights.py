"""Weights: what ``--weights`` may name, and every file that must be refused with one line."""

from __future__ import annotations

import io
import itertools
import socket
import sys
import threading
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest

from saldiag.core.errors import WeightsError
from saldiag.quicksal.blocks.mobilenet_v2 import BLOCKS, SHAPES, UNITS
from saldiag.quicksal.pretrained import imagenet
from saldiag.quicksal.pretrained.weight_files import MAX_ARRAY_BYTES, read_layers
from saldiag.quicksal.pretrained.weights import EncoderWeights, check_shapes, load_encoder_weights

DATA = Path(__file__).parents[3] / "shared" / "data"
FOLDED = DATA / "weights" / "mobilenet_v2_1.0_224_folded_f16.npz"

needs_folded = pytest.mark.skipif(not FOLDED.is_file(), reason=f"{FOLDED} is missing")


def folded(scale: float = 0.5) -> dict[str, np.ndarray]:
    arrays: dict[str, np.ndarray] = {}
    for number, unit in enumerate(UNITS):
        arrays[f"{unit.conv}/kernel"] = np.full(unit.kernel, scale, np.float16)
        arrays[f"{unit.conv}/bias"] = np.full(unit.channels, number, np.float32)
    return arrays


def keras3(path: Path, layers: dict[str, list[np.ndarray]]) -> Path:
    """A ``.weights.h5`` as Keras 3 lays it out, without Keras."""
    with h5py.File(path, "w") as file:
        file.create_group("vars").attrs["name"] = "some_model"
        for number, (name, arrays) in enumerate(layers.items()):
            group = file.create_group(f"layers/layer_{number}/vars")
            group.attrs["name"] = name
            for index, array in enumerate(arrays):
                group[str(index)] = array
    return path


def zeros() -> dict[str, list[np.ndarray]]:
    return {name: [np.zeros(s, np.float32) for s in shapes] for name, shapes in SHAPES.items()}


def refused(path: Path | str) -> str:
    with pytest.raises(WeightsError) as caught:
        load_encoder_weights(str(path))
    text = str(caught.value)
    assert "\n" not in text
    assert Path(path).name in text
    return text


def test_random_weights_are_empty():
    assert load_encoder_weights("random") == EncoderWeights("random")


def test_table_has_every_block_of_the_paper():
    assert len(UNITS) == 1 + 3 * len(BLOCKS) - 1
    assert [u.conv for u in UNITS if u.strides == 2] == [
        "Conv1",
        "block_1_depthwise",
        "block_3_depthwise",
        "block_6_depthwise",
        "block_13_depthwise",
    ]
    for before, after in itertools.pairwise(BLOCKS):
        assert before.filters == after.in_filters


def test_folded_npz_gets_its_batchnorm_back(tmp_path):
    arrays = folded() | {"Conv_1/kernel": np.zeros(3), "predictions/bias": np.zeros(5)}
    np.savez(tmp_path / "w.npz", **arrays)
    loaded = load_encoder_weights(str(tmp_path / "w.npz"))
    assert loaded.kind == "file"
    assert list(loaded.layers) == list(SHAPES)
    gamma, beta, mean, variance = loaded.layers["block_1_expand_BN"]
    x = np.array([-2.0, 0.0, 7.0])
    out = gamma[0] * (x - mean[0]) / np.sqrt(variance[0] + 1e-3) + beta[0]
    assert out == pytest.approx(x + 3)  # the fourth convolution: its bias is 3
    assert loaded.layers["Conv1"][0].dtype == np.float32


@needs_folded
def test_the_real_folded_file_fits():
    loaded = load_encoder_weights(str(FOLDED))
    assert (
        sum(a.size for arrays in loaded.layers.values() for a in arrays)
        == 2_257_984 - 320 * 1280 - 4 * 1280
    )  # without the top
    assert all(np.isfinite(a).all() for arrays in loaded.layers.values() for a in arrays)


def test_h5_of_a_mobilenet_is_read_by_name_not_by_order(tmp_path):
    layers = zeros()
    layers["Conv1"][0] += 1
    shuffled = dict(sorted(layers.items())) | {"predictions": [np.zeros((4, 4))]}
    loaded = load_encoder_weights(str(keras3(tmp_path / "m.weights.h5", shuffled)))
    assert list(loaded.layers) == list(SHAPES)
    assert (loaded.layers["Conv1"][0] == 1).all()


def test_first_layer_that_does_not_fit_is_named_with_both_shapes(tmp_path):
    layers = zeros()
    layers["block_2_expand"] = [np.zeros((1, 1, 24, 72))]
    layers["block_9_project"] = [np.zeros((1, 1, 9, 9))]
    text = refused(keras3(tmp_path / "half.weights.h5", layers))
    assert "block_2_expand has 1x1x24x72, but the model needs 1x1x24x144" in text
    assert "block_9" not in text


def test_folded_npz_of_another_width_is_refused(tmp_path):
    arrays = folded() | {"Conv1/kernel": np.zeros((3, 3, 3, 16), np.float16)}
    np.savez(tmp_path / "w.npz", **arrays)
    assert "Conv1 has 3x3x3x16 32, but the model needs 3x3x3x32 32" in refused(tmp_path / "w.npz")


def test_missing_layer_is_named(tmp_path):
    layers = zeros()
    del layers["block_16_project_BN"]
    text = refused(keras3(tmp_path / "w.weights.h5", layers))
    assert "block_16_project_BN is missing" in text


def test_another_network_is_recognised_by_its_first_layer(tmp_path):
    text = refused(keras3(tmp_path / "resnet.weights.h5", {"conv1_pad": [np.zeros(2)]}))
    assert "Conv1 is missing (another model? it begins with 'conv1_pad')" in text


def test_keras2_file(tmp_path):
    with h5py.File(tmp_path / "old.h5", "w") as file:
        file.attrs["layer_names"] = [name.encode() for name in SHAPES] + [b"Conv1_relu"]
        file.create_group("Conv1_relu").attrs["weight_names"] = np.zeros(0, "S1")
        for name, arrays in zeros().items():
            group = file.create_group(name)
            group.attrs["weight_names"] = [f"{name}/{i}:0".encode() for i in range(len(arrays))]
            for index, array in enumerate(arrays):
                group[f"{name}/{index}:0"] = array
    assert list(load_encoder_weights(str(tmp_path / "old.h5")).layers) == list(SHAPES)


def test_keras_archive_is_read_for_its_numbers_only(tmp_path):
    keras3(tmp_path / "w.h5", zeros())
    with zipfile.ZipFile(tmp_path / "m.keras", "w") as archive:
        archive.writestr("config.json", '{"class_name": "Lambda", "config": "evil"}')
        archive.write(tmp_path / "w.h5", "model.weights.h5")
    assert load_encoder_weights(str(tmp_path / "m.keras")).kind == "file"


def test_a_complete_model_is_distinguished_from_an_encoder(tmp_path):
    path = keras3(tmp_path / "q.weights.h5", {"encoder/Conv1": [np.zeros(1)]})
    loaded = load_encoder_weights(str(path))
    assert (loaded.whole, loaded.layers, loaded.path) == (True, {}, path)


@pytest.mark.parametrize("name", ["w.weights.h5", "w.keras", "w.npz"])
def test_text_under_a_weights_name_is_refused(tmp_path, name):
    (tmp_path / name).write_text("not weights")
    assert "neither HDF5 nor a complete zip archive" in refused(tmp_path / name)


def test_empty_file_is_refused(tmp_path):
    (tmp_path / "w.npz").touch()
    assert "neither" in refused(tmp_path / "w.npz")


@pytest.mark.parametrize("kept", [0.3, 0.9, 0.999])
def test_truncated_files_are_refused(tmp_path, kept):
    np.savez(tmp_path / "w.npz", **folded())
    keras3(tmp_path / "w.weights.h5", zeros())
    for name in ("w.npz", "w.weights.h5"):
        whole = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(whole[: int(len(whole) * kept)])
        assert "weights" in refused(tmp_path / name)


def test_zip_of_something_else_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "w.npz", "w") as archive:
        archive.writestr("README.md", "hello")
    assert "neither model.weights.h5 nor arrays" in refused(tmp_path / "w.npz")


def test_pickles_are_not_loaded(tmp_path):
    np.savez(tmp_path / "w.npz", **{"Conv1/kernel": np.array([{"a": 1}], dtype=object)})
    assert "damaged" in refused(tmp_path / "w.npz")


def test_text_instead_of_numbers_is_refused(tmp_path):
    np.savez(tmp_path / "w.npz", **{"Conv1/kernel": np.array(["a", "b"])})
    assert "instead of numbers" in refused(tmp_path / "w.npz")


def test_external_links_are_not_followed(tmp_path):
    keras3(tmp_path / "secret.h5", zeros())
    with h5py.File(tmp_path / "w.weights.h5", "w") as file:
        file["layers"] = h5py.ExternalLink(str(tmp_path / "secret.h5"), "/layers")
    assert "no layers" in refused(tmp_path / "w.weights.h5")


def test_keras2_link_is_refused(tmp_path):
    with h5py.File(tmp_path / "w.h5", "w") as file:
        file.attrs["layer_names"] = [b"Conv1"]
        group = file.create_group("Conv1")
        group.attrs["weight_names"] = [b"kernel"]
        group["kernel"] = h5py.ExternalLink(str(tmp_path / "other.h5"), "/x")
    assert "is a link to another file" in refused(tmp_path / "w.h5")


def test_data_in_another_file_is_refused(tmp_path):
    (tmp_path / "raw").write_bytes(bytes(64))
    with h5py.File(tmp_path / "w.weights.h5", "w") as file:
        group = file.create_group("layers/a/vars")
        group.attrs["name"] = "Conv1"
        group.create_dataset("0", (16,), "f4", external=[(str(tmp_path / "raw"), 0, 64)])
    assert "is stored in another file" in refused(tmp_path / "w.weights.h5")


def test_huge_shape_without_data_is_refused(tmp_path):
    with h5py.File(tmp_path / "w.weights.h5", "w") as file:
        group = file.create_group("layers/a/vars")
        group.attrs["name"] = "Conv1"
        group.create_dataset("0", (MAX_ARRAY_BYTES,), "f4", chunks=True, compression="gzip")
    assert "too large for QUICKSAL" in refused(tmp_path / "w.weights.h5")


def test_zip_bomb_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("saldiag.quicksal.pretrained.weight_files.MAX_FILE_BYTES", 10_000)
    with zipfile.ZipFile(tmp_path / "w.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.npy", bytes(100_000))
    assert "unpacks to over" in refused(tmp_path / "w.npz")
    (tmp_path / "w.h5").write_bytes(bytes(10_001))
    assert "too large for QUICKSAL" in refused(tmp_path / "w.h5")


def test_npy_header_that_promises_too_much_is_refused(tmp_path):
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        buffer, {"descr": "<f4", "fortran_order": False, "shape": (10**14,)}
    )
    with zipfile.ZipFile(tmp_path / "w.npz", "w") as archive:
        archive.writestr("Conv1/kernel.npy", buffer.getvalue())
    assert "damaged" in refused(tmp_path / "w.npz")


def test_layers_without_names_are_refused(tmp_path):
    with h5py.File(tmp_path / "w.weights.h5", "w") as file:
        file["layers/conv2d/vars/0"] = np.zeros(3)
    assert "layers/conv2d has no layer name" in refused(tmp_path / "w.weights.h5")


def test_group_that_contains_itself_ends(tmp_path):
    path = keras3(tmp_path / "w.weights.h5", {"a": [np.zeros(1)]})
    with h5py.File(path, "a") as file:
        file["layers/layer_0/loop"] = file["layers"]
    assert list(read_layers(path)) == ["a"]


def test_missing_file_error_names_the_alternatives(tmp_path):
    assert "no such file (give a file or one of" in refused(tmp_path / "absent.npz")
    assert "a folder, not a file" in refused(tmp_path)
    with pytest.raises(WeightsError, match="did you mean imagenet"):
        load_encoder_weights("imagnet")


def test_unreadable_file_is_refused(tmp_path, monkeypatch):
    np.savez(tmp_path / "w.npz", **folded())

    def deny(self):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_bytes", deny)
    assert "cannot be read (Permission denied)" in refused(tmp_path / "w.npz")


def test_check_shapes_accepts_fitting_weights():
    check_shapes(zeros(), SHAPES, "here")


class TestImageNet:
    @pytest.fixture(autouse=True)
    def empty_cache(self, tmp_path, monkeypatch):
        monkeypatch.setattr(imagenet, "_cache_path", lambda: tmp_path / "none")

    @pytest.mark.tensorflow
    def test_auto_falls_back_with_one_line(self, monkeypatch):
        def unknown_host(*args, **kwargs):
            raise socket.gaierror(-2, "Name or service not known")

        monkeypatch.setattr("urllib.request.urlopen", unknown_host)
        chosen = load_encoder_weights("auto")
        assert chosen.kind == "random"
        assert chosen.note.endswith("the encoder starts from random weights")
        assert "Name or service not known" in chosen.note
        assert "\n" not in chosen.note
        with pytest.raises(WeightsError, match="use --weights FILE"):
            load_encoder_weights("imagenet")

    @pytest.mark.tensorflow
    def test_a_network_that_swallows_packets_does_not_hang(self, monkeypatch):
        answered = threading.Event()

        def swallow(*args, **kwargs):
            answered.wait(60)
            raise OSError("too late")

        monkeypatch.setattr(imagenet, "REACHABLE_SECONDS", 0.2)
        monkeypatch.setattr("urllib.request.urlopen", swallow)
        chosen = load_encoder_weights("auto")
        answered.set()
        assert "no answer within 0.2 s" in chosen.note

    @pytest.mark.tensorflow
    def test_failed_download_is_one_line(self, monkeypatch):
        import keras

        def fail(*args, **kwargs):
            assert socket.getdefaulttimeout() == imagenet.STALL_SECONDS
            raise Exception("URL fetch failure on\n HOST")  # noqa: TRY002 - as Keras does

        monkeypatch.setattr(imagenet, "_check_reachable", lambda address: None)
        monkeypatch.setattr(keras.applications, "MobileNetV2", fail)
        with pytest.raises(
            WeightsError, match=r"cannot be downloaded \(URL fetch failure on HOST\)"
        ):
            load_encoder_weights("imagenet")
        assert socket.getdefaulttimeout() is None

    @pytest.mark.tensorflow
    def test_cached_file_is_used_without_network(self, monkeypatch, tmp_path, capsys):
        import keras

        real = keras.applications.MobileNetV2

        def cached(shape, include_top):
            sys.stdout.write("Downloading")
            return real(shape, include_top=include_top, weights=None)

        (tmp_path / "cached.h5").touch()
        monkeypatch.setattr(imagenet, "_cache_path", lambda: tmp_path / "cached.h5")
        monkeypatch.setattr(keras.applications, "MobileNetV2", cached)
        monkeypatch.setattr(imagenet, "_check_reachable", lambda address: pytest.fail("asked"))
        chosen = load_encoder_weights("auto")
        assert (chosen.kind, chosen.note) == ("imagenet", None)
        assert list(chosen.layers) == list(SHAPES)
        assert capsys.readouterr().out == ""  # stdout belongs to --format json


@pytest.mark.tensorflow
def test_damaged_cache_is_named(tmp_path, monkeypatch):
    import keras  # noqa: F401 - reads its own configuration before the cache is moved

    path = tmp_path / "models" / imagenet.WEIGHTS_FILE
    path.parent.mkdir()
    path.write_bytes(b"half a file")
    monkeypatch.setattr("keras.src.backend.config._KERAS_DIR", str(tmp_path))
    with pytest.raises(WeightsError, match="are damaged, delete the file") as caught:
        load_encoder_weights("imagenet")
    assert str(path) in str(caught.value)
