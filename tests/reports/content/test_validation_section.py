"""The validation section: its picture, its tables, and what of it is in TensorBoard."""

from __future__ import annotations

import dataclasses
import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from saldiag.core.files.run import Run
from saldiag.core.measurement import (
    ActedCallback,
    Correction,
    InputComparison,
    StatisticsRow,
    TrainingHistory,
    ValidationCheck,
)
from saldiag_reports import plots, sections
from saldiag_reports.content import validation_tables as tables
from saldiag_reports.content.data import ReportData
from saldiag_reports.formats.html import render_html
from saldiag_reports.formats.printed.text import render_text
from saldiag_reports.gallery import runs
from saldiag_reports.plots.validation_curves import epoch_marks, thin_curve
from tests.support import hostile_report as hostile

NAN, INF = float("nan"), float("inf")
NUMBERS = st.one_of(
    st.floats(allow_nan=True, allow_infinity=True),
    st.sampled_from([0.0, NAN, INF, -INF, 1e-320, 1e308, -1e308]),
)


def parsed(markup):
    """The one ``<svg>`` element of some markup, read as strict XML."""
    (svg,) = re.findall(r"<svg.*?</svg>", markup, re.DOTALL)
    return ET.fromstring(svg)


def texts(markup):
    return ["".join(e.itertext()) for e in parsed(markup).iter("text")]


def described(markup):
    return next(e.text for e in parsed(markup).iter("desc"))


def history(loss, val_loss):
    epochs = np.arange(1, len(loss) + 1)
    return TrainingHistory(("loss", "val_loss"), epochs, np.array([loss, val_loss], dtype=float))


def at(epochs, inference, training=None, reestimated=None, **fields):
    """A check on validation items alone after the given epochs."""
    none = np.full(len(epochs), NAN)
    return hostile.validation(
        checked=np.array(epochs), steps=np.array(epochs) * 10, inference=np.array(inference),
        training=np.array(inference if training is None else training),
        reestimated=none if reestimated is None else np.array(reestimated),
        train_inference=none, train_training=none, train_reestimated=none, **fields,
    )  # fmt: skip


@pytest.fixture(scope="module")
def lags():
    return runs.lagging_run()


def section(data):
    return next(s for s in sections.report_sections(data) if s.key == "validation")


def test_the_picture_names_curves_checks_and_the_baseline_with_their_values(lags):
    shown = texts(section(lags).pictures[0])
    for label in (
        "val_loss  1.42",
        "validation, inference mode  1.42",
        "validation, training mode  0.509",
        "validation, re-estimated  0.512",
        "training samples, re-estimated  0.384",
        "baseline error  1.37",
        "sparse_categorical_crossentropy, log scale",
    ):
        assert label in shown


def test_the_picture_marks_the_epoch_that_was_kept_and_where_it_stopped(lags):
    picture = section(lags).pictures[0]
    assert "epoch 3 kept by EarlyStopping, ModelCheckpoint" in texts(picture)
    assert "stopped after epoch 16 by EarlyStopping" in texts(picture)
    assert described(picture).endswith(
        "Epoch 3 kept by EarlyStopping, ModelCheckpoint. Stopped after epoch 16 by EarlyStopping."
    )


def test_callbacks_that_did_nothing_leave_no_mark():
    assert epoch_marks((ActedCallback("ModelCheckpoint", "val_loss", None, None),)) == []


def test_many_callbacks_at_one_epoch_share_a_mark():
    callbacks = [ActedCallback(f"Callback{i}", "val_loss", None, 7) for i in range(5)]
    assert epoch_marks(callbacks) == [(7, "epoch 7 kept by Callback0, Callback1 and 3 more")]


def test_a_model_that_computes_the_same_in_both_modes_has_one_point_for_them():
    shown = texts(plots.plot_validation(at([1, 2], [0.5, 0.4]), history([1, 0.5], [0.5, 0.4])))
    assert "validation, both modes  0.4" in shown
    assert not [text for text in shown if "training mode" in text or "re-estimated" in text]


def test_a_negative_loss_gets_a_linear_axis():
    shown = texts(plots.plot_validation(at([2], [-0.5], loss="dice"), history([-1, -2], [1, 0])))
    assert "dice" in shown
    assert "validation, both modes  -0.5" in shown


def test_a_curve_that_ends_in_nan_says_so():
    shown = texts(plots.plot_validation(at([1], [0.5]), history([1, 0.7, NAN], [1, 0.9, INF])))
    assert "loss  0.7, then not finite" in shown
    assert "val_loss  0.9, then not finite" in shown


def test_zeros_and_infinities_are_counted_below_the_picture():
    markup = plots.plot_validation(at([1, 2], [0.5, INF]), history([1, 0], [1, 0.5]))
    assert "Not on the log axis: 1 value of 0 or less and 1 infinite value." in markup


def test_a_check_without_any_finite_loss_is_a_sentence():
    assert "No finite loss" in plots.plot_validation(at([1], [NAN]), None)
    assert "No finite loss" in plots.plot_validation(at([], []), None, 1.0)


def test_a_single_epoch_is_one_tick():
    markup = plots.plot_validation(at([1], [50.0], callbacks=()), history([100.0], [50.0]))
    assert "1" in texts(markup)
    assert not [text for text in texts(markup) if text.startswith("0.6")]


def test_thousands_of_epochs_stay_small_and_keep_their_spikes():
    loss = np.exp(-np.arange(5000) / 900)
    loss[3210] = 50.0
    x, y = thin_curve(np.arange(5000.0), loss)
    assert len(x) <= 802
    assert (x[0], x[-1], y.max()) == (0, 4999, 50.0)
    noise = 1 + 0.1 * np.random.default_rng(0).random(5000)
    markup = plots.plot_validation(at([1, 5000], [1.0, 1.1]), history(loss, noise))
    assert len(markup) < 100_000


@pytest.mark.slow
@settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(st.tuples(*[NUMBERS] * 2), min_size=1, max_size=5), NUMBERS)
def test_any_losses_can_be_drawn(pairs, baseline):
    loss, val_loss = map(list, zip(*pairs, strict=True))
    epochs = range(1, len(loss) + 1)
    check = at(epochs, val_loss, loss, loss[::-1])
    markup = plots.plot_validation(check, history(loss, val_loss), baseline)
    assert "No finite loss" in markup or parsed(markup)


def test_each_check_has_a_row_for_validation_and_for_training_where_measured(lags):
    table = tables.error_table(lags.measured.need(ValidationCheck))
    assert [row[:3] for row in table.rows[-2:]] == [(16, 192, "validation"), (16, 192, "training")]
    assert table.rows[-1][3:] == (1.401, 0.381, 0.384)
    assert len(table.rows) == 6


def test_the_worst_of_many_batchnorm_layers_come_first_and_the_rest_is_counted():
    rows = [StatisticsRow(f"bn_{i}", 0.99, 1.0 + i, 0.1, float(i)) for i in range(70)]
    rows[3] = dataclasses.replace(rows[3], excess=NAN)
    table = tables.statistics_table(hostile.validation(statistics=tuple(rows)))
    assert [row[0] for row in table.rows[:2]] == ["bn_3", "bn_69"]
    assert (len(table.rows), table.left_out) == (50, 20)
    data = hostile.with_measurement(runs.bare_run(), hostile.validation(statistics=tuple(rows)))
    assert "… and 20 more rows in the run's measurements." in render_html(data)


def test_inputs_are_compared_channel_by_channel():
    apart = InputComparison("", (4, 4, 2), (4, 4, 1), (0.1, 0.2), (1.0, 1.0), (0.3,), (2.0,))
    table = tables.input_table(hostile.validation(inputs=(apart,)))
    assert [row[:4] for row in table.rows] == [
        ("input", "0", "training", "4 x 4 x 2"),
        ("input", "0", "validation", "4 x 4 x 1"),
        ("input", "1", "training", "4 x 4 x 2"),
        ("input", "1", "validation", "4 x 4 x 1"),
    ]
    assert table.rows[1][4:] == (0.3, 2.0)
    assert np.isnan(table.rows[3][4:]).all()


def test_changes_that_were_tried_follow_the_error_without_a_change():
    tried = (Correction("targets", "1 - y", 0.9), Correction("inputs", "x / 255", 0.2))
    table = tables.correction_table(hostile.validation(corrections=tried))
    assert [row[1:] for row in table.rows] == [
        ("no correction", 0.512), ("x / 255", 0.2), ("1 - y", 0.9),
    ]  # fmt: skip
    assert table.caption.endswith("with BatchNorm's statistics re-estimated")


def test_tables_without_a_row_are_left_out():
    empty = at([3], [0.5], statistics=(), inputs=(), corrections=(), callbacks=())
    assert [table.caption for table in tables.validation_tables(empty)] == [
        "Errors at each check (sparse_categorical_crossentropy)"
    ]


def test_facts_show_renamed_classes_and_what_is_random_in_inference():
    check = hostile.validation(
        accuracy=0.1, mapped_accuracy=0.8, mapping=((0, 3), (3, 0)), active=("noise",),
        repeat_difference=1.5,
    )  # fmt: skip
    facts = section(hostile.with_measurement(runs.bare_run(), check)).facts
    assert facts["predicted class is label"] == "0 is 3, 3 is 0"
    assert facts["accuracy with classes renamed"] == "80%"
    assert facts["layers that are random or batch-dependent in inference"] == "noise"
    assert facts["difference between two inference passes"] == "150%"


def test_a_run_without_the_check_says_why_there_is_no_section():
    assert "validation" not in {s.key for s in sections.report_sections(runs.learning_run())}
    assert sections.missing_sections(runs.learning_run())["Validation"] == (
        "validation not measured by this command"
    )


def test_a_stored_run_gives_the_same_page(lags, tmp_path):
    run = Run.create("run", tmp_path / "run")
    run.write_info(lags.info)
    for measurement in lags.measured:
        run.write_measurement(measurement)
    run.write_diagnosis(lags.diagnosis)
    again = ReportData.of_run(tmp_path / "run")
    assert section(again) == section(lags)
    assert render_text(again) == render_text(lags)


def test_the_reason_of_the_verdict_fits_a_narrow_terminal(lags):
    for width in (40, 80):
        lines = render_text(lags, width=width).splitlines()
        assert max(map(len, lines)) <= width
        assert lines[1].startswith("loss 1.38 → 0.39 in 16 epochs")
