"""``tensorboard/``: read back by TensorBoard itself, written without TensorFlow."""

from __future__ import annotations

import dataclasses
import io

import numpy as np
import pytest
from PIL import Image
from tensorboard.backend.event_processing import event_file_loader
from tensorboard.util import tensor_util

from saldiag.core.measurement import Experiments, Histograms, OverfitHistory, TrainingHistory
from saldiag_reports.files import EVENTS_FILE
from saldiag_reports.formats.tensorboard import render_events, write_tensorboard
from saldiag_reports.formats.tensorboard_events import EventLog, escape_markdown, markdown_table
from saldiag_reports.gallery import runs
from tests.support import hostile_report as hostile
from tests.support.command_line import run_python

# The reader that checks the files is TensorBoard's own, and loads TensorFlow where it finds it.
pytestmark = pytest.mark.tensorflow


def read(data, directory):
    """Write and read back: (tag, plugin) to a list of (step, value)."""
    write_tensorboard(data, directory)
    found = {}
    # The loader checks the checksums of every record.
    for event in event_file_loader.LegacyEventFileLoader(str(directory / EVENTS_FILE)).Load():
        for value in event.summary.value:
            key = (value.tag, value.metadata.plugin_data.plugin_name)
            found.setdefault(key, []).append((event.step, tensor_util.make_ndarray(value.tensor)))
    return found


@pytest.fixture(scope="module")
def full():
    """The healthy sample with histograms and learning curves."""
    counts = np.array([[1, 2, 3], [4, 5, 6]])
    edges = np.array([[0.0, 1.0, 2.0, 3.0], [-1.0, 0.0, 1.0, 2.0]])
    names = ("weights/a/kernel", "gradients/a/kernel")
    return hostile.with_measurement(
        runs.learning_run(),
        Histograms(names, np.array([0, 7]), counts, edges),
        TrainingHistory(("loss", "val_loss"), np.array([0, 1]), np.array([[3, 2], [np.nan, 1]])),
    )


@pytest.fixture(scope="module")
def back(full, tmp_path_factory):
    return read(full, tmp_path_factory.mktemp("tensorboard"))


def test_losses_in_both_modes_come_back(back, full):
    history = full.measured.need(OverfitHistory)
    for name, values in (
        ("training mode", history.training_error),
        ("inference mode", history.inference_error),
    ):
        got = back[f"loss/{name}", "scalars"]
        assert [step for step, _ in got] == history.checked.tolist()
        assert [float(value) for _, value in got] == pytest.approx(values.tolist())
    assert len(back["loss/batch loss", "scalars"]) == len(history.steps)
    baseline = back["loss/baseline best fixed prediction", "scalars"]
    assert [step for step, _ in baseline] == [0, 60]
    assert float(baseline[0][1]) == pytest.approx(0.1912)


def test_gradient_norms_and_update_ratios_come_back(back):
    assert len(back["gradient norm/inception_5/expand", "scalars"]) == 12
    assert len(back["update ratio/inception_5/expand/kernel", "scalars"]) == 12


def test_learning_curves_leave_out_what_is_missing(back):
    assert [(s, float(v)) for s, v in back["epoch/loss", "scalars"]] == [(0, 3), (1, 2)]
    assert [(s, float(v)) for s, v in back["epoch/val_loss", "scalars"]] == [(1, 1)]


def test_experiments_are_curves_of_every_seed(tmp_path):
    found = read(runs.experiments_run(), tmp_path)
    experiments = runs.experiments_run().measured.need(Experiments)
    curve = experiments.arms[0].curves[2]
    for kind, values in (("score", curve.score), ("error", curve.error)):
        got = found[f"experiments/{kind}/fitting-output/seed 2", "scalars"]
        assert [step for step, _ in got] == list(curve.steps)
        assert [float(value) for _, value in got] == pytest.approx(values)
    assert len(found["experiments/score/control/seed 0", "scalars"]) == 2
    ((_, text),) = found["saldiag/verdict", "text"]
    assert "Replacing softmax by sigmoid" in text.item().decode()
    ((_, listed),) = found["saldiag/findings", "text"]
    assert "replacing softmax by sigmoid" in listed.item().decode()


def test_the_checks_of_validation_come_back_at_their_steps(tmp_path):
    found = read(runs.lagging_run(), tmp_path)
    again = found["validation/reestimated", "scalars"]
    assert [step for step, _ in again] == [12, 24, 48, 96, 192]
    assert float(again[-1][1]) == pytest.approx(0.512)
    assert len(found["validation/inference", "scalars"]) == 5
    assert len(found["validation/training_mode", "scalars"]) == 5
    # Training items were measured in the last check alone.
    ((step, value),) = found["validation/training items inference", "scalars"]
    assert (step, float(value)) == (192, pytest.approx(1.401))


def test_the_verdict_has_its_reason(tmp_path):
    ((_, text),) = read(runs.lagging_run(), tmp_path)["saldiag/verdict", "text"]
    assert "the best prediction that ignores the input gets 1\\.37" in text.item().decode()


def test_histograms_have_tensorboards_form(back):
    ((step, bins),) = back["gradients/a/kernel", "histograms"]
    assert step == 7
    np.testing.assert_array_equal(bins, [[-1, 0, 4], [0, 1, 5], [1, 2, 6]])


def test_predictions_are_pictures(back):
    ((_, (width, height, encoded)),) = back["predictions/sample_0000", "images"]
    with Image.open(io.BytesIO(encoded)) as picture:
        assert picture.size == (int(width), int(height)) == (288, 96)


def test_the_findings_are_text(back):
    ((_, text),) = back["saldiag/verdict", "text"]
    assert text.item().decode().startswith("# quicksal learns")
    ((_, listed),) = back["saldiag/findings", "text"]
    assert "SD802 inference-lags-training" in listed.item().decode()


def test_the_same_run_gives_the_same_bytes_and_replaces_the_file(full, tmp_path):
    assert render_events(full) == render_events(full)
    write_tensorboard(runs.broken_run(), tmp_path)
    write_tensorboard(full, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [EVENTS_FILE]
    assert (tmp_path / EVENTS_FILE).read_bytes() == render_events(full)


def test_the_accumulator_reads_it_too(full, tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    write_tensorboard(full, tmp_path)
    accumulator = EventAccumulator(str(tmp_path)).Reload()
    assert "loss/training mode" in accumulator.Tags()["tensors"]
    assert accumulator.FirstEventTimestamp() == 1767323045.0  # when the run began


def test_hostile_names_become_harmless_tags(tmp_path):
    found = read(hostile.hostile(), tmp_path)
    tags = [tag for tag, _ in found]
    assert len(set(tags)) == len(tags)
    for tag in tags:
        assert tag.isascii()
        assert tag.isprintable()
        assert not set(tag) & set("<>\"'&$`\\[]{}")
        assert 0 < len(tag) <= 210
    ((_, text),) = found["saldiag/verdict", "text"]
    assert "<script>" not in text.item().decode()


def test_two_names_never_share_a_tag():
    log = EventLog()
    names = ["a<b", "a>b", "a_b", "a<b", "", "/", "x" * 500, "x" * 501]
    tags = [log.tag_for(name) for name in names]
    assert tags[0] == tags[3] == "a_b"
    assert len(set(tags)) == len(set(names))


def test_markdown_is_shown_letter_by_letter():
    assert escape_markdown("a_b*c <img> [x](y) | $z$") == (r"a\_b\*c \<img\> \[x\]\(y\) \| \$z\$")
    assert markdown_table(("a", "b"), [("1\n2", "3")]) == "| a | b |\n| --- | --- |\n| 1 2 | 3 |"


def test_numbers_beyond_float32_are_infinite(tmp_path):
    data = hostile.with_measurement(
        runs.bare_run(), hostile.overfit([1e300, float("nan")], [float("inf")])
    )
    found = read(data, tmp_path)
    ((_, value),) = found["loss/batch loss", "scalars"]
    assert np.isinf(value)
    assert np.isinf(found["loss/training mode", "scalars"][0][1])


def test_an_empty_histogram_is_no_error(tmp_path):
    empty = Histograms(("weights/a",), np.array([0]), np.zeros((1, 2)), np.full((1, 3), np.nan))
    found = read(hostile.with_measurement(runs.bare_run(), empty), tmp_path)
    assert np.array_equal(found["weights/a", "histograms"][0][1], np.zeros((2, 3)))


def test_a_start_that_is_not_known_is_no_error(full):
    info = dataclasses.replace(full.info, started="yesterday")
    assert render_events(dataclasses.replace(full, info=info))


@pytest.mark.slow
def test_reports_never_load_tensorflow():
    """Not even where it is installed: every renderer runs, and neither is imported."""
    code = (
        "import sys, tempfile, pathlib\n"
        "from saldiag_reports import writer\n"
        "from saldiag_reports.formats.registry import format_names, load_format\n"
        "from saldiag_reports.formats.printed_run import PrintedRun\n"
        "from saldiag_reports.gallery import runs\n"
        "with tempfile.TemporaryDirectory() as folder:\n"
        "    writer.write_reports(runs.learning_run(), pathlib.Path(folder))\n"
        "for name in format_names():\n"
        "    load_format(name).render([PrintedRun(runs.learning_run())], 'error')\n"
        "loaded = {'tensorflow', 'keras', 'saldiag.rules'} & set(sys.modules)\n"
        "sys.exit(f'loaded {loaded}' if loaded else 0)\n"
    )
    ran = run_python(code)
    assert ran.returncode == 0, ran.stderr
