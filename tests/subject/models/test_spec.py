"""What --model and --data say, told apart without TensorFlow; a folder by its files' names."""

from __future__ import annotations

import os
import zipfile
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from saldiag.app.session.option_checks import refuse_unused
from saldiag.app.session.options import Options
from saldiag.core.errors import DataError, ModelError, SaldiagError
from saldiag.core.files.folders import is_tfrecord, kind_of_folder
from saldiag.subject.models import registered
from saldiag.subject.models.registered import registered_model
from saldiag.subject.models.spec import (
    DataSpec,
    ModelSpec,
    parse_code_reference,
    parse_data_spec,
    parse_model_spec,
)


def model(spec: str) -> ModelSpec:
    return parse_model_spec(spec)


def made(folder: Path, *files: str) -> Path:
    for name in files:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def test_built_in_models_and_their_faults() -> None:
    assert model("quicksal") == ModelSpec("quicksal", registered=registered_model("quicksal"))
    assert model("quicksal").registered is not None
    assert model("quicksal-as-reported").variant is None
    assert model("quicksal-as-reported:").variant == ()
    assert model("quicksal-as-reported:a, b").variant == ("a", "b")
    with pytest.raises(ModelError, match="only quicksal-as-reported accepts faults"):
        model("quicksal:a")


def test_a_registered_model_that_cannot_be_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    broken = EntryPoint("broken", "no.such.module:MODEL", registered.GROUP)
    monkeypatch.setattr(registered, "entry_points", lambda **_: (broken,))
    with pytest.raises(ModelError, match=r"--model broken: no.such.module:MODEL cannot be loaded"):
        registered.registered_model.__wrapped__("broken")


def test_a_function_of_a_module() -> None:
    code = model("package.module:Class.build").code
    assert code is not None
    assert (code.location, code.attribute, code.file) == ("package.module", "Class.build", None)


@pytest.mark.parametrize("name", ["net.py", "my nets/net v2.py", "a:b.py", "./net.py"])
def test_a_function_of_a_file(name: str, here: Path) -> None:
    made(here, name)
    code = model(f"{name}:build").code
    assert code is not None
    assert (code.file, code.attribute) == (Path(name), "build")


def test_the_colon_of_a_drive_is_not_that_of_a_function(here: Path) -> None:
    made(here, r"C:\nets\net.py", r"C:\nets\net.keras")
    code = model(r"C:\nets\net.py:build").code
    assert code is not None
    assert code.location == r"C:\nets\net.py"
    assert model(r"C:\nets\net.keras").path == Path(r"C:\nets\net.keras")
    with pytest.raises(ModelError, match="name a function"):
        model(r"C:\nets\net.py")


@pytest.mark.parametrize("name", ["net.keras", "net.h5", "net.hdf5", "net.KERAS", "two words.h5"])
def test_files_of_models(name: str, here: Path) -> None:
    made(here, name)
    assert model(name) == ModelSpec(name, path=Path(name))


def test_a_file_without_a_function_is_told_what_it_has(here: Path) -> None:
    (here / "net.py").write_text("import os\ndef build(): ...\nclass Net: ...\nx = 1\n")
    with pytest.raises(ModelError, match=r"--model net.py:FUNCTION \(it defines build, Net\)"):
        model("net.py")
    (here / "net.py").write_text("def (:")
    with pytest.raises(ModelError, match=r"--model net.py:FUNCTION$"):
        model("net.py")


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("quicksall", "did you mean quicksal"),
        ("nothing", "--model also accepts MODULE:FUNCTION, FILE.py:FUNCTION, a .keras or .h5 file"),
        ("net.keras", "no such file"),
        ("nte.py:build", r"no such file \(did you mean net.py\?\)"),
        ("notes.txt", "not a model; --model accepts"),
        ("no/such/folder/net.h5", "no such file"),
        ("empty", "a folder that contains no model"),
        ("", "no such model|a folder that contains no model"),
        (":", "no such model"),
        ("a\nb", r"a\\nb: no such model"),
    ],
)
def test_models_that_are_not_there(spec: str, said: str, here: Path) -> None:
    made(here, "net.py", "notes.txt", "empty/x")
    with pytest.raises(ModelError, match=said):
        model(spec)


def test_a_saved_model_folder_is_a_model(here: Path) -> None:
    made(here, "saved/saved_model.pb")
    assert model("saved").path == Path("saved")


def test_an_unpacked_keras_file_is_a_model(here: Path) -> None:
    made(here, "net.keras/config.json")
    assert model("net.keras").path == Path("net.keras")


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a.npz", "npz"),
        ("a b.CSV", "csv"),
        ("a.tsv", "csv"),
        ("a.tfrecord", "tfrecord"),
        ("a.tfrecord.gz", "tfrecord"),
        ("a.tfrecord-00000-of-00002", "tfrecord"),
        ("a.zip", "pairs"),
    ],
)
def test_files_of_data(name: str, kind: str, here: Path) -> None:
    made(here, name)
    assert parse_data_spec(name) == DataSpec(kind, path=Path(name))  # type: ignore[arg-type]


def test_a_zip_is_known_without_its_suffix(here: Path) -> None:
    with zipfile.ZipFile(here / "archive", "w") as stream:
        stream.writestr("a", "b")
    assert parse_data_spec("archive").kind == "pairs"


def test_data_from_code_and_the_sample(here: Path) -> None:
    made(here, "data.py")
    assert parse_data_spec(None) == DataSpec("pairs")
    assert str(parse_data_spec(None)) == "the built-in sample"
    assert parse_data_spec("data.py:load").kind == "code"
    assert str(parse_data_spec("package.data:load")) == "--data package.data:load"


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("iris.cvs", r"no such file or folder \(did you mean iris.csv\?\)"),
        ("notes.txt", r"not a known data format; --data accepts .*\.npz"),
        ("data.py", "name a function"),
        ("none.py:load", "none.py:load: no such file"),
        ("empty", "empty folder"),
        ("texts", "contains no images"),
        ("one.csv.gz", "not a known data format"),
    ],
)
def test_data_that_are_not_there(spec: str, said: str, here: Path) -> None:
    made(here, "iris.csv", "notes.txt", "data.py", "texts/a.txt", "texts/b/c.md", "one.csv.gz")
    (here / "empty").mkdir()
    with pytest.raises(DataError, match=said):
        parse_data_spec(spec)


@pytest.mark.parametrize(
    ("files", "kind"),
    [
        (["cats/a.jpg", "dogs/b.PNG"], "classes"),
        (["cats/a.jpg", "dogs/b.gif", "readme.txt"], "classes"),
        (["a.jpg", "a.png"], "pairs"),
        (["Imgs/a.jpg", "Imgs/a.png"], "pairs"),
        (["MSRA10K/Imgs/a.jpg", "MSRA10K/Imgs/a.png"], "pairs"),
        (["MSRA10K/a.jpg", "MSRA10K/a.png"], "pairs"),
        (["images/a.jpg", "masks/a.png"], "pairs"),
        (["JPEGImages/a.jpg", "SegmentationClass/a.png"], "pairs"),
        (["a.tfrecord-00000-of-00001"], "tfrecord"),
        (["cats/a.jpg", "dogs/b.jpg", ".hidden/c.jpg", "__MACOSX/d.jpg"], "classes"),
    ],
)
def test_a_folder_is_told_by_its_files(files: list[str], kind: str, tmp_path: Path) -> None:
    assert kind_of_folder(made(tmp_path, *files)) == kind


def test_a_folder_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied", str(tmp_path))

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(DataError, match="Permission denied"):
        kind_of_folder(tmp_path)


def test_names_of_tfrecords() -> None:
    assert is_tfrecord("train.tfrecord-00000-of-00002")
    assert not is_tfrecord("tfrecord")
    assert not is_tfrecord("tfrecord_notes.txt")


def test_a_loss_may_be_a_name_or_code() -> None:
    assert parse_code_reference("--loss", "mse", SaldiagError) is None
    assert parse_code_reference("--loss", "losses:mine", SaldiagError) is not None
    assert parse_code_reference("--loss", "not a module:mine", SaldiagError) is None


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"data": "a.npz", "image_size": 32}, "--image-size is for image files"),
        ({"data": "m:f", "target": "y"}, "--target is for .npz, .csv and .tfrecord"),
        ({"inputs": ("x",)}, "--inputs is for"),
        ({"pixels": "unit"}, "--pixels is for your own model"),
        ({"model": "m:f", "data": "a.csv", "pixels": "unit"}, "--pixels is for image files"),
        ({"custom_objects": ("m",)}, "--custom-objects is for saved models"),
        ({"model": "m:f", "unsafe_load": True}, "--unsafe-load is for"),
        ({"model": "a.keras", "precision": "mixed_float16"}, "cannot change a saved model"),
    ],
)
def test_an_option_without_a_use_is_refused(
    options: dict[str, object], said: str, here: Path
) -> None:
    made(here, "a.npz", "a.csv", "a.keras")
    asked = Options(**options)  # type: ignore[arg-type]
    with pytest.raises(SaldiagError, match=said):
        refuse_unused(asked, model(asked.model), parse_data_spec(asked.data))


def test_options_with_a_use_are_not(here: Path) -> None:
    made(here, "a.npz", "a.tfrecord", "a.keras")
    for asked in (
        Options(model="m:f", data="a.npz", target="y", inputs=("x",), precision="mixed_float16"),
        Options(model="m:f", data="a.tfrecord", pixels="unit", image_size=32, target="y"),
        Options(model="a.keras", custom_objects=("m",), unsafe_load=True, pixels="unit"),
    ):
        refuse_unused(asked, model(asked.model), parse_data_spec(asked.data))
