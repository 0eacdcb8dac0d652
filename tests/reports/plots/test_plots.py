"""Pictures: right, safe, the same every time, and no trace left in matplotlib."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET

import matplotlib as mpl
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from markupsafe import Markup

from saldiag.core.measurement import (
    GradientFlow,
    GradientHistory,
    Measurements,
    OverfitHistory,
    TrainingHistory,
)
from saldiag_reports import plots
from saldiag_reports.gallery import runs
from tests.support import hostile_report as hostile

NUMBERS = st.one_of(
    st.floats(allow_nan=True, allow_infinity=True, width=32),
    st.sampled_from([0.0, float("nan"), float("inf"), 1e-38, 1e38]),
)
# A picture takes a quarter of a second.
FEW = settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def parsed(markup):
    """The ``<svg>`` elements of some markup, read as strict XML."""
    return [ET.fromstring(svg) for svg in re.findall(r"<svg.*?</svg>", markup, re.DOTALL)]


def texts(markup):
    return ["".join(e.itertext()) for svg in parsed(markup) for e in svg.iter("text")]


@pytest.fixture(scope="module")
def broken():
    return runs.broken_run().measured


@pytest.fixture(scope="module")
def learns():
    return runs.learning_run().measured


def draw_all(measured):
    return [
        plots.plot_overfit(measured.need(OverfitHistory), "one"),
        plots.plot_gradients(measured.need(GradientHistory), measured, "two"),
        plots.plot_flow(measured.need(GradientFlow), {"softmax_output"}, "three"),
    ]


def test_the_loss_picture_names_curves_and_baselines_with_their_values(learns):
    shown = texts(plots.plot_overfit(learns.need(OverfitHistory)))
    for label in (
        "training mode  0.0103",
        "inference mode  0.156",
        "inference, statistics re-estimated  0.013",
        "best constant  0.229",
        "baseline error  0.191",
        "a tenth of it: the model learns  0.0191",
    ):
        assert label in shown


def test_the_flow_picture_marks_the_layers_where_the_signal_was_judged_to_die(broken):
    flow = broken.need(GradientFlow)
    markup = plots.plot_flow(flow, {"softmax_output"})
    assert "cut in softmax_output" in texts(markup)
    assert "|dL/d output| is not exactly 0 in 1 of 152 layer calls." in markup
    assert "The gradient is cut in softmax_output." in markup
    unjudged = plots.plot_flow(flow)
    assert not any(text.startswith("cut in") for text in texts(unjudged))


def test_more_cuts_than_fit_are_told_below_the_picture():
    flow = hostile.flow([(1.0, 0.0)] * 5)
    markup = plots.plot_flow(flow, {row.layer for row in flow.rows})
    marks = [text for text in texts(markup) if text.startswith("cut in")]
    assert sorted(marks) == ["cut in b0/l2", "cut in b0/l3", "cut in b0/l4"]
    assert "The gradient is cut in b0/l4, b0/l3, b0/l2 and 2 more." in markup


def test_the_strip_below_has_a_row_for_each_thing_that_a_log_axis_cannot_show():
    strips = {"no path", "not finite", "exactly 0"}
    every = plots.plot_flow(hostile.flow([(1.0, 0.0), (None, float("inf"))]))
    assert strips <= set(texts(every))
    assert not strips & set(texts(plots.plot_flow(hostile.flow([(1.0, 1.0)]))))


def test_the_heat_map_tells_zero_none_and_infinity_apart():
    norm = np.array([[1.0, 0.0, np.nan, np.inf, 0.1]] * 3)
    shown = texts(plots.plot_gradients(hostile.gradients(norm), Measurements()))
    assert {"exactly 0", "no gradient", "not finite"} <= set(shown)
    healthy = texts(plots.plot_gradients(hostile.gradients(np.ones((3, 5))), Measurements()))
    assert not {"exactly 0", "no gradient", "not finite"} & set(healthy)


def test_hundreds_of_layers_become_at_most_sixty_rows():
    norm = np.ones((500, 400))
    markup = plots.plot_gradients(hostile.gradients(norm), Measurements())
    names = [text for text in texts(markup) if re.match(r"b\d", text)]
    assert 30 <= len(names) <= 60
    assert "120 of 500 recorded steps are shown." in markup
    assert "3 earlier steps were not kept." in markup
    assert len(markup) < 150_000


def test_the_same_numbers_give_the_same_picture(broken):
    assert draw_all(broken) == draw_all(broken)


def test_ids_are_unique_across_pictures_and_references_resolve(broken, learns):
    page = Markup().join(draw_all(broken)) + plots.plot_flow(learns.need(GradientFlow), name="four")
    found = [e.get("id") for svg in parsed(page) for e in svg.iter() if e.get("id")]
    # A marker's path may be defined again by its own picture, never by another one.
    assert len({i.split("-")[0] for i in found}) == 4
    assert len(found) == len(set(found))
    used = set(re.findall(r'(?:href="#|url\(#)([^")]+)', page))
    assert used <= set(found)


def test_a_picture_is_an_image_with_a_name_for_those_who_cannot_see_it(broken):
    for markup in draw_all(broken):
        (svg,) = parsed(markup)
        assert svg.get("role") == "img"
        ids = svg.get("aria-labelledby").split()
        labels = {e.get("id"): e.text for e in svg.iter() if e.tag in ("title", "desc")}
        assert all(labels[i] for i in ids)


def test_pictures_take_their_colours_from_the_page_and_nothing_from_outside(broken):
    page = Markup().join(draw_all(broken))
    assert "var(--ink)" in page or "var(--muted)" in page
    assert not re.search(r"#0101|#0102", page)
    assert "http" not in page
    assert "<style" not in page


def test_drawing_leaves_no_trace_in_matplotlib(broken):
    import matplotlib.pyplot as plt

    before, backend = dict(mpl.rcParams), mpl.rcParams._get("backend")
    figures = plt.get_fignums()
    draw_all(broken)
    assert dict(mpl.rcParams) == before
    assert mpl.rcParams._get("backend") == backend
    assert plt.get_fignums() == figures


def test_the_users_own_settings_have_no_say(broken):
    plain = draw_all(broken)
    with mpl.rc_context({"font.size": 30, "text.usetex": True, "axes.grid": False}):
        assert draw_all(broken) == plain


def test_hostile_names_are_text_and_nothing_else():
    data = hostile.hostile()
    page = Markup().join(draw_all(data.measured))
    page += plots.plot_training(data.measured.need(TrainingHistory))
    assert len(parsed(page)) == 4
    assert "<script" not in page
    assert "<img" not in page
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", page)
    page.encode("utf-8")
    shown = " ".join(texts(page))
    assert "$x^2$" in shown
    assert "a & b; c" in shown
    for svg in parsed(page):
        for element in svg.iter():
            assert not [name for name in element.attrib if name.startswith("on")]


def test_formulas_in_names_are_not_set_as_formulas():
    base = hostile.flow([(1.0, 0.0), (1.0, 1.0)])
    row = type(base.rows[0])("$x^2$", "$x^2$", "Dense", 0, True, 1.0, 0.0)
    flow = GradientFlow((row,), (), 1.0, True)
    assert "cut in $x^2$" in texts(plots.plot_flow(flow, {"$x^2$"}))


@pytest.mark.slow
@FEW
@given(st.lists(NUMBERS, max_size=9), st.lists(NUMBERS, max_size=5), NUMBERS)
def test_any_loss_curve_can_be_drawn(loss, errors, baseline):
    assert parsed(plots.plot_overfit(hostile.overfit(loss, errors, baseline)))


@pytest.mark.slow
@FEW
@given(st.integers(1, 5), st.integers(1, 5), st.data())
def test_any_gradients_can_be_drawn(steps, variables, data):
    size = steps * variables
    values = data.draw(st.lists(NUMBERS.filter(lambda x: not x < 0), min_size=size, max_size=size))
    norm = np.array(values).reshape(steps, variables)
    assert parsed(plots.plot_gradients(hostile.gradients(norm), Measurements()))


@pytest.mark.slow
@FEW
@given(st.lists(st.tuples(*[st.one_of(st.none(), NUMBERS.filter(lambda x: not x < 0))] * 2)))
def test_any_flow_can_be_drawn(pairs):
    markup = plots.plot_flow(hostile.flow(pairs))
    assert parsed(markup) or "No layer call was recorded." in markup


def test_nothing_recorded_is_said():
    empty = hostile.gradients(np.zeros((0, 3)))
    assert "No gradient was recorded." in plots.plot_gradients(empty, Measurements())
    assert "No gradient was recorded." in plots.plot_gradients(
        hostile.gradients(np.zeros((2, 0))), Measurements()
    )


def test_values_that_a_log_axis_cannot_show_are_counted():
    markup = plots.plot_overfit(hostile.overfit([0.0, -1.0, float("inf"), 0.5], [0.5]))
    assert "Not on the log axis: 2 values of 0 or less and 1 infinite value." in markup


def test_learning_curves_stand_beside_their_validation():
    history = TrainingHistory(
        ("loss", "val_loss", "mae"), np.arange(3), np.array([[3, 2, 1], [3, 3, 3], [1, np.nan, 1]])
    )
    shown = texts(plots.plot_training(history))
    assert "loss" in shown
    assert "mae" in shown
    assert "val_loss" not in shown
