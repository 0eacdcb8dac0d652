"""``saldiag predict``: what it accepts, writes, scores and refuses."""

from __future__ import annotations

import io
import json
import shutil
import signal
import time
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from saldiag.app.loading.checkpoint import find_checkpoint
from saldiag.cli import main
from saldiag.core.errors import DataError, ModelError, RunError, SaldiagError
from saldiag.image_masks.photographs import list_photographs
from tests.support import models
from tests.support.command_line import run_saldiag, start_saldiag_process

PROGRAM = '''
import keras

def masks(side=None):
    """Takes any side; predicts the red channel."""
    inputs = keras.Input((side, side, 3))
    red = keras.layers.Conv2D(1, 1, bias_initializer=keras.initializers.Constant(-4), name="red")
    made = keras.Model(inputs, keras.layers.Activation("sigmoid")(red(inputs)), name="red")
    red.kernel.assign([[[[20.0], [-10.0], [-10.0]]]])
    return made

def fixed():
    return masks(32)

def logits():
    made = masks(32)
    return keras.Model(made.input, made.get_layer("red").output)

def classes():
    inputs = keras.Input((32, 32, 3))
    return keras.Model(inputs, keras.layers.Dense(10)(keras.layers.Flatten()(inputs)))

def three():
    inputs = keras.Input((32, 32, 3))
    return keras.Model(inputs, keras.layers.Conv2D(3, 1, activation="softmax")(inputs))

def nothing():
    return 3
'''


def picture(
    path: Path, size: tuple[int, int], box: tuple[int, int, int, int], **options: Any
) -> Any:
    """A grey picture of (width, height) with a red box, and the box as a mask."""
    pixels = np.full((size[1], size[0], 3), 90, np.uint8)
    mask = np.zeros((size[1], size[0]), np.uint8)
    left, top, right, bottom = box
    pixels[top:bottom, left:right] = (230, 20, 20)
    mask[top:bottom, left:right] = 255
    Image.fromarray(pixels).save(path, **options)
    return mask


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with a program and pictures of odd sizes with ground truths."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "models.py").write_text(PROGRAM)
    folder = tmp_path / "photos"
    folder.mkdir()
    for name, size in {"a": (101, 67), "b": (64, 64), "c": (33, 90)}.items():
        mask = picture(folder / f"{name}.jpg", size, (8, 8, 24, 40), quality=95)
        Image.fromarray(mask).save(folder / f"{name}.png")
    return folder


def predict(*arguments: str | Path) -> int:
    return run_saldiag("predict", *arguments)


# Without TensorFlow.


def test_png_files_are_ground_truths_or_pictures(data: Path) -> None:
    (data / "b.png").unlink()
    Image.new("RGB", (9, 9)).save(data / "d.png")
    found = list_photographs(data)
    assert [(p.stem, p.truth is not None) for p in found.pictures] == [
        ("a", True), ("b", False), ("c", True),
    ]  # fmt: skip
    assert [line.rpartition("/")[2] for line in found.ignored] == ["d.png: mask without an image"]
    for name in ("a.png", "c.png"):
        (data / name).unlink()
    assert [p.stem for p in list_photographs(data).pictures] == ["a", "b", "c", "d"]
    single = list_photographs(data / "d.png")
    assert [(p.stem, p.truth) for p in single.pictures] == [("d", None)]


def test_a_folder_of_masks_alone_is_refused(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "masks").mkdir()
    Image.new("L", (9, 9)).save(tmp_path / "masks" / "a.png")
    with pytest.raises(DataError, match="only masks"):
        list_photographs(tmp_path)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda path: None, "no such file or folder"),
        (lambda path: path.mkdir(), "holds no JPEG or PNG image"),
        (lambda path: path.write_text("x"), "neither a JPEG or PNG image nor a complete zip"),
    ],
)
def test_what_holds_no_pictures_ends_in_one_line(tmp_path: Path, make: Any, says: str) -> None:
    path = tmp_path / "pictures"
    make(path)
    with pytest.raises(DataError, match=says) as caught:
        list_photographs(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def recorded(path: Path, command: str = "train", **config: Any) -> Path:
    from saldiag.core.files.run import Run, RunInfo

    path.mkdir(exist_ok=True)
    Run(path).write_info(RunInfo(("saldiag", command), {}, 0, config))
    return path


def test_a_run_of_train_is_its_best_checkpoint(tmp_path: Path) -> None:
    run = recorded(tmp_path / "run", image_size=64, pixels="unit")
    with pytest.raises(RunError, match=r"has no checkpoints/best.keras.*--resume"):
        find_checkpoint(str(run))
    (run / "checkpoints").mkdir()
    (run / "checkpoints" / "best.weights.h5").touch()
    with pytest.raises(RunError, match=r"only best.weights.h5.*FILE.py:FUNCTION"):
        find_checkpoint(str(run))
    (run / "checkpoints" / "best.keras").touch()
    found = find_checkpoint(str(run))
    assert found.path == run / "checkpoints" / "best.keras"
    assert (found.image_size, found.pixels) == (64, "unit")
    other = recorded(tmp_path / "other", "overfit")
    with pytest.raises(RunError, match="a run of saldiag overfit, which keeps no checkpoint"):
        find_checkpoint(str(other))


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("missing.keras", "no such file or folder; give a run of saldiag train"),
        ("text.txt", "not a model; give a run"),
        ("empty", "no model in this folder; give a run"),
        ("models.py", "name a function"),
    ],
)
def test_what_is_no_checkpoint_ends_in_one_line(tmp_path: Path, name: str, says: str) -> None:
    (tmp_path / "text.txt").touch()
    (tmp_path / "empty").mkdir()
    (tmp_path / "models.py").write_text(PROGRAM)
    with pytest.raises(SaldiagError, match=says) as caught:
        find_checkpoint(str(tmp_path / name))
    assert "CHECKPOINT" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("out", "says"),
    [
        ("photos", "is inside the folder of the images"),
        ("photos/masks", "is inside the folder of the images"),
        ("photos/../photos", "is inside the folder of the images"),
        ("link/here", "is inside the folder of the images"),
        ("models.py", "is a file"),
        ("taken", r"holds b.png already"),
        ("done", "holds predictions already"),
    ],
)
def test_no_picture_and_no_mask_is_ever_overwritten(
    data: Path, out: str, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (data.parent / "link").symlink_to(data)
    for name in ("taken/b.png", "done/predictions.json"):
        (data.parent / name).parent.mkdir()
        (data.parent / name).write_text("x")
    before = {path: path.read_bytes() for path in data.parent.rglob("*") if path.is_file()}
    assert predict("models.py:masks", "photos", "--out", out) == 2
    said = capsys.readouterr()
    assert says in said.err
    assert said.err.count("\n") == 1
    assert before == {path: path.read_bytes() for path in before}


# With TensorFlow, in this process.


def read(path: Path) -> Any:
    with Image.open(path) as mask:
        assert mask.mode == "L"
        return np.asarray(mask)


@pytest.mark.tensorflow
def test_masks_have_their_pictures_sizes_and_scores_those_of_the_files(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Image.open(data / "a.jpg").convert("L").save(data / "grey.jpg")
    exif = Image.Exif()
    exif[0x0112] = 6
    picture(data / "turned.jpg", (80, 50), (0, 0, 80, 10), quality=95, exif=exif)
    out = data.parent / "out"
    code = predict(
        "models.py:masks", "photos", "--out", "out", "--image-size", "64", "--format", "json"
    )
    said = capsys.readouterr()
    assert code == 0, said.err
    assert said.out == (out / "predictions.json").read_text()
    document = json.loads(said.out, parse_constant=pytest.fail)
    assert {path.name for path in out.iterdir()} == {
        "a.png", "b.png", "c.png", "grey.png", "turned.png", "predictions.json",
    }  # fmt: skip
    assert (document["schema_version"], document["status"]) == (1, "finished")
    assert document["image_size"] == [64, 64]
    masks = {one["picture"]: one for one in document["masks"]}
    for name, size in {"a": (67, 101), "b": (64, 64), "c": (90, 33), "turned": (80, 50)}.items():
        mask = read(out / f"{name}.png")
        assert mask.shape == tuple(masks[name]["size"]) == size
    assert read(out / "turned.png")[40, 45] > 200, "what was on top is right once Exif turns it"
    assert masks["turned"]["scores"] is None
    from saldiag.recipes.mask_scores import MaskScorer

    scorer = MaskScorer()
    for name in "abc":
        scorer.add(read(out / f"{name}.png"), np.asarray(Image.open(data / f"{name}.png")) > 128)
    over = scorer.over("photos")
    assert over is not None
    assert document["datasets"] == [
        {"dataset": "photos", "pictures": 3, "scores": vars(over.scores)}
    ]
    assert over.scores.max_f_beta > 0.9
    assert masks["a"]["scores"]["s_measure"] > 0.7


@pytest.mark.tensorflow
def test_a_truth_of_another_size_is_scored_at_its_own(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mask = Image.open(data / "a.png").resize((50, 33), Image.Resampling.NEAREST)
    mask.save(data / "a.png")
    assert predict("models.py:masks", "photos/a.jpg", "--out", "alone") == 0
    assert capsys.readouterr().out == "1 mask in alone\n", "a single picture has no ground truth"
    assert predict("models.py:masks", "photos", "--out", "out") == 0
    table = capsys.readouterr().out
    assert table.splitlines()[0].split()[:3] == ["data", "set", "n"]
    assert "3 masks in out" in table
    assert max(map(len, table.splitlines())) <= 80
    scores = json.loads(Path("out/predictions.json").read_text())["masks"][0]["scores"]
    assert scores["max_f_beta"] > 0.8
    assert read(Path("out/a.png")).shape == (67, 101)


@pytest.mark.tensorflow
def test_unreadable_pictures_are_named_and_the_others_done(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (data / "cut.jpg").write_bytes((data / "a.jpg").read_bytes()[:300])
    (data / "x\x1b[31m\n.jpg").write_text("no picture")
    (data / "c.png").write_bytes(b"\x89PNG")
    assert predict("models.py:fixed", "photos", "--out", "out") == 2
    said = capsys.readouterr()
    assert "\x1b" not in said.out + said.err
    lines = [line for line in said.err.splitlines() if "pixel range" not in line]
    assert len(lines) == 4
    assert any("photos/cut.jpg: damaged" in line for line in lines)
    assert any("photos/c.png: not a JPEG or PNG" in line for line in lines)
    assert "3 of 5 images or their ground truths could not be read" in lines[-1]
    document = json.loads(Path("out/predictions.json").read_text())
    told = {one["picture"]: (one["file"], bool(one["scores"])) for one in document["masks"]}
    assert told["a"] == ("a.png", True)
    assert told["c"] == ("c.png", False)
    assert told["cut"] == (None, False)
    assert document["datasets"][0]["pictures"] == 2


@pytest.mark.tensorflow
@pytest.mark.parametrize(
    ("model", "options", "says"),
    [
        ("logits", (), "outside [0, 1]: end the model with a sigmoid"),
        ("classes", (), "returns (None, 10); a mask needs one number a pixel"),
        ("three", (), "returns (None, 32, 32, 3); a mask needs"),
        ("nothing", (), "returns int, not a Keras 3 model"),
        ("missing", (), "no attribute missing"),
        ("fixed", ("--image-size", "64"), "the model expects 32x32 pixels"),
    ],
)
def test_a_model_without_masks_is_refused_in_one_line(
    data: Path, model: str, options: tuple[str, ...], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert predict(f"models.py:{model}", "photos", "--out", "out", *options) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert says in last
    assert f"CHECKPOINT models.py:{model}" in last


@pytest.mark.tensorflow
def test_files_of_models_are_loaded_as_other_commands_load_them(
    data: Path, capsys: pytest.CaptureFixture[str], keras: Any
) -> None:
    first = keras.layers.Lambda(lambda x: x[..., :1])
    models.sequential((32, 32, 3), first, keras.layers.Activation("sigmoid")).save("lambda.keras")
    assert predict("lambda.keras", "photos", "--out", "out") == 2
    assert "--unsafe-load" in capsys.readouterr().err
    assert predict("lambda.keras", "photos", "--out", "out", "--unsafe-load") == 0
    Path("broken.keras").write_text("x")
    capsys.readouterr()
    assert predict("broken.keras", "photos", "--out", "other") == 2
    assert "saldiag: CHECKPOINT broken.keras: damaged" in capsys.readouterr().err
    models.sequential((32, 32, 3), keras.layers.Conv2D(1, 1)).save_weights("some.weights.h5")
    assert predict("some.weights.h5", "photos", "--out", "other") == 2
    assert (
        "that builds the model and loads them, CHECKPOINT FILE.py:FUNCTION"
        in capsys.readouterr().err
    )
    assert not Path("other").exists()


@pytest.mark.tensorflow
def test_a_zip_and_two_folders_are_read_as_the_rest(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with zipfile.ZipFile("set.zip", "w") as archive:
        for path in data.iterdir():
            archive.write(path, f"Set/Imgs/{path.name}")
    for name, kind in {"images": "jpg", "masks": "png"}.items():
        Path("apart", name).mkdir(parents=True)
        for path in data.glob(f"*.{kind}"):
            shutil.copy(path, Path("apart", name))
    for place in ("set.zip", "apart", "photos"):
        assert predict("models.py:fixed", place, "--out", f"{Path(place).stem}-out") == 0
    documents = [
        json.loads(Path(f"{name}-out/predictions.json").read_text())["datasets"][0]["scores"]
        for name in ("set", "apart", "photos")
    ]
    assert documents[0] == documents[1] == documents[2]


@pytest.mark.tensorflow
def test_quicksal_is_predicted_as_it_was_trained(
    data: Path, capsys: pytest.CaptureFixture[str], keras: Any
) -> None:
    from saldiag.app.loading.mask_model import as_mask_model
    from saldiag.image_masks.msra10k import open_dataset
    from saldiag.image_masks.pipeline import load_arrays
    from saldiag.image_masks.storage import FileRef
    from saldiag.quicksal.model import quicksal

    keras.utils.set_random_seed(0)
    model = quicksal(32, weights="random")
    images, _ = load_arrays(open_dataset(data).items, 32)
    made = as_mask_model(model, image_size=None, pixels="auto", where="it")
    inputs = [made.prepare_image(FileRef(data / f"{name}.jpg")) for name in "abc"]
    np.testing.assert_array_equal(np.stack([one.pixels for one in inputs]), images)
    np.testing.assert_allclose(
        made.predict_masks(inputs), np.asarray(model(images))[..., 0], atol=1e-6
    )  # fmt: skip
    larger = as_mask_model(model, image_size=64, pixels="auto", where="it")
    assert larger.frame.size == (64, 64)
    same = quicksal(64, weights="random")
    same.set_weights(model.get_weights())
    big, _ = load_arrays(open_dataset(data).items, 64)
    np.testing.assert_allclose(
        larger.predict_masks(
            [larger.prepare_image(FileRef(data / f"{name}.jpg")) for name in "abc"]
        ),
        np.asarray(same(big))[..., 0], atol=1e-6,
    )  # fmt: skip
    with pytest.raises(ModelError, match="divisible by 32"):
        as_mask_model(model, image_size=100, pixels="auto", where="it")


# From end to end.


@pytest.mark.slow
@pytest.mark.tensorflow
def test_from_training_to_masks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sample, run, out = tmp_path / "sample", tmp_path / "run", tmp_path / "masks"
    assert main.main(["data", "sample", str(sample), "--count", "24"]) == 0
    capsys.readouterr()
    code = main.main(
        ["train", "--data", str(sample), "--out", str(run), "--epochs", "1", "--image-size", "32",
         "--batch-size", "4", "--weights", "random"]
    )  # fmt: skip
    assert code in (0, 1)
    printed = capsys.readouterr().out
    assert "Best checkpoint (epoch 1) at 32x32 on 2 images that were not used" in printed
    assert "weighted F" in printed
    measured = json.loads((run / "measurements" / "held_out.json").read_text())
    assert (measured["part"], measured["available"], measured["epoch"]) == ("test", 2, 1)
    page = (run / "report.html").read_text()
    assert '<section id="held-out">' in page

    assert main.main(["predict", str(run), str(sample), "--out", str(out)]) == 0
    document = json.loads((out / "predictions.json").read_text())
    assert document["image_size"] == [32, 32]
    assert document["datasets"][0]["pictures"] == 24
    # The held-out pictures have the same scores in both.
    from saldiag.image_masks.msra10k import open_dataset

    test = {item.stem for item in open_dataset(sample).split(0).test}
    mae = [one["scores"]["mae"] for one in document["masks"] if one["picture"] in test]
    assert measured["rows"][0]["scores"]["mae"] == pytest.approx(np.mean(mae), abs=2e-3)


@pytest.mark.slow
@pytest.mark.tensorflow
def test_ctrl_c_keeps_the_masks_that_are_written(data: Path) -> None:
    content = io.BytesIO()
    Image.new("RGB", (2000, 1500)).save(content, format="JPEG")
    many = data.parent / "many"
    many.mkdir()
    for number in range(300):
        (many / f"{number:03}.jpg").write_bytes(content.getvalue())
    command = ("predict", "models.py:fixed", "many", "--out", "out", "--batch-size", "2")
    with start_saldiag_process(*command, cwd=data.parent) as process:
        ends = time.monotonic() + 120
        while time.monotonic() < ends and len(list(data.parent.glob("out/*.png"))) < 4:
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 2, err
    assert out == ""
    last = err.splitlines()[-1]
    assert last.startswith("interrupted: ")
    assert last.endswith("of 300 masks are in out")
    document = json.loads((data.parent / "out" / "predictions.json").read_text())
    assert document["status"] == "interrupted"
    written = {path.stem for path in (data.parent / "out").glob("*.png")}
    assert {one["picture"] for one in document["masks"]} <= written
    assert 0 < len(written) < 300
    assert not list((data.parent / "out").glob(".*"))
