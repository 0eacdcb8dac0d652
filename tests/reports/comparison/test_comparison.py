"""A comparison as text, page and JSON: what it shows, and what hostile names cannot do."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path

import jsonschema
import numpy as np
import pytest
from rich.cells import cell_len

from saldiag.core.comparison import Curve, compare
from saldiag.core.measurement import SourceFile, SourceFiles
from saldiag.core.wording import NO_VALUE
from saldiag_reports.comparison import text as terminal
from saldiag_reports.comparison.document import render_comparison_json
from saldiag_reports.comparison.lines import format_cells
from saldiag_reports.comparison.page import render_comparison_html
from saldiag_reports.comparison.text import render_comparison
from saldiag_reports.formats.printed.json import load_schema
from saldiag_reports.plots import plot_curves
from tests.support import hostile_report as hostile
from tests.support.findings import finding
from tests.support.html_page import Page
from tests.support.runs import call, case, diagnosis, of_report, run, sources, wiring

UNSEEN = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def attack():
    """The case beside runs whose every text is out to break something."""
    data = hostile.hostile()
    files = SourceFiles(
        tuple(SourceFile(n, f"{i:064x}", 1, n) for i, n in enumerate(hostile.NAMES) if n)
    )
    measured = data.measured.with_(files)
    sample = dataclasses.replace(
        of_report("", data), measured=measured, models=hostile.NAMES, path=Path("x\u202e<b>")
    )
    runs = [dataclasses.replace(sample, name=name) for name in hostile.NAMES[:7]]
    return compare([case()[0], *runs])


@pytest.fixture(scope="module")
def compared():
    return compare(case())


@pytest.fixture(scope="module")
def page(compared):
    return render_comparison_html(compared)


@pytest.fixture(scope="module")
def attacked():
    return attack()


# Text


def test_the_text_tells_outcome_findings_changes_and_code(compared):
    shown = render_comparison(compared, width=120)
    for said in (
        r"^ +broken +fixed$",
        r"^  verdict +does not learn +learns$",
        r"^  SD101 single-channel-softmax in .* +error, root cause +gone$",
        r'^\+head = "sigmoid"$',
        r"^1 new finding, \d gone, .* lines the same in all runs \(--all lists them\)$",
    ):
        assert re.search(said, shown, re.MULTILINE), said
    assert "data.py" not in shown
    assert re.search(r"^  data.py +sha256", render_comparison(compared, 120, True), re.MULTILINE)


def test_of_the_same_run_nothing_is_shown():
    one, _ = case()
    shown = render_comparison(compare([one, one]))
    note, nothing, _ = shown.splitlines()
    assert (note, nothing) == ("broken: it is the same run as broken", terminal.NO_DIFFERENCE)


@pytest.mark.parametrize("width", [40, 80, 120])
def test_no_line_of_the_table_is_wider_than_the_terminal(compared, attacked, width):
    for comparison in (compared, attacked):
        table = render_comparison(
            dataclasses.replace(comparison, code=(), notes=()), width, everything=True
        )
        assert max(cell_len(line) for line in table.splitlines()[:-1]) <= width


def test_hostile_text_is_spelt_out(attacked):
    shown = render_comparison(attacked, everything=True)
    assert not UNSEEN.search(shown)
    assert "[bold red]rich[/]" in shown
    shown.encode("utf-8")


def test_long_diffs_are_cut_and_counted():
    one, two = run("a", sources(a="x\n")), run("b", sources(a="y\n" * 100))
    shown = render_comparison(compare([one, two]))
    assert "… and 44 more lines (--all lists them)" in shown
    assert render_comparison(compare([one, two]), everything=True).count("+y") == 100


def test_what_could_not_be_judged_does_not_look_gone():
    one = run("a", judged=diagnosis(finding("SD301", severity="warning", name="dead-relu")))
    two = run("b", judged=diagnosis(skipped=("SD301",)))
    three = dataclasses.replace(two, name="c", diagnosis=None)
    shown = render_comparison(compare([one, two, three]), width=120)
    assert re.search(r"SD301 dead-relu +warning +could not judge +not judged", shown)
    assert "2 could not be judged in one of the runs" in shown


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ((0.1234, 0.5), ("0.123", "0.5")),
        ((0.12341, 0.12342), ("0.12341", "0.12342")),
        ((0.1, 0.1 + 1e-16), ("0.1", "0.1000000000000001")),
        ((0.5, 0.5), ("0.5", "0.5")),
        ((None, True, ""), (NO_VALUE, "yes", "(empty)")),
        (((1, 2), "does_not_learn", "a_b"), ("1, 2", "does not learn", "a_b")),
        ((float("nan"), float("inf")), (NO_VALUE, "∞")),
    ],
)
def test_values_that_differ_are_told_apart(values, told):
    assert format_cells(values) == told


def test_layers_that_changed_alike_share_a_line():
    names = [f"layer/{i}" for i in range(5)]
    one = run("a", wiring(*(call(name) for name in names)))
    two = run("b", wiring(*(call(name, trainable=False) for name in names[:3])))
    comparison = compare([one, two])
    shown = render_comparison(comparison, width=120)
    assert re.search(r"layer/0, layer/1 and 1 more: trainable +yes +no\n", shown)
    assert re.search(r"layer/3, layer/4 +2 layers +–\n", shown)  # noqa: RUF001 - the dash
    each = render_comparison(comparison, width=120, everything=True)
    assert all(f"{name}: trainable" in each for name in names[:3])
    assert each.count("Dense, output ? x 4") == 2


def test_many_lines_of_a_part_are_cut_and_counted():
    one, two = (run(n, **{f"option{i}": n for i in range(40)}) for n in "ab")
    assert "… and 10 more lines (--all lists them)" in render_comparison(compare([one, two]))
    assert "option39" in render_comparison(compare([one, two]), everything=True)


# Page


def test_the_page_is_well_formed_and_offline(page):
    read = Page(page)
    assert len(read.ids) == len(set(read.ids))
    assert {v[1:] for t, k, v in read.attributes if (t, k) == ("a", "href")} <= set(read.ids)
    assert not re.search(r"https?://(?!www.w3.org)", page)
    assert page.count("<svg") == 1
    assert page.count('<table class="sortable">') == 1


def test_the_page_tells_the_outcome_the_diff_and_the_findings_that_went(page):
    read = Page(page)
    assert "broken → fixed" in read.text
    assert re.search(r"gone in fixed\s+error SD101 single-channel-softmax", read.text)
    assert '<code class="added">+head = &#34;sigmoid&#34;</code>' in page


def test_the_same_runs_give_the_same_page(compared, page):
    assert render_comparison_html(compared) == page


def test_the_page_of_the_same_run_says_that_nothing_differs():
    one, _ = case()
    read = Page(render_comparison_html(compare([one, one])))
    assert "No recorded value differs." in read.text
    assert "Differences None." in read.text
    assert "code" not in read.ids


def test_hostile_text_is_shown_and_does_nothing(attacked):
    page = render_comparison_html(attacked, everything=True)
    read = Page(page)
    assert read.tags["script"] == read.tags["style"] == 1
    assert "img" not in read.tags
    assert not [key for _, key, _ in read.attributes if key.startswith("on")]
    assert "<script>alert(1)</script>" in read.text
    assert "{{ 7*7 }}" in read.text
    assert not UNSEEN.search(page)
    page.encode("utf-8")


# Picture


def curve(index, y, quantity="loss", axis="step"):
    values = np.array(y, dtype=float)
    return Curve(index, quantity, axis, np.arange(len(values)), values)


def test_every_run_is_in_the_legend_whatever_it_is_called():
    names = ["_hidden", "$x^2$", "<b>", "d", "e", "f", "g"]
    drawn = plot_curves([curve(i, [1, 2]) for i in range(7)], names)
    for place, shown in enumerate(["_hidden", "$x^2$", "&lt;b&gt;", "d", "e", "f", "g"], 1):
        assert f">{place}: {shown}<" in drawn


def test_steps_are_on_a_log_axis_if_they_can_be():
    assert "loss, log scale" in plot_curves([curve(0, [1, 0.1])], "a")
    for y in ([1, 0], [-1, 2]):
        assert "log scale" not in plot_curves([curve(0, y)], "a")
    assert "log scale" not in plot_curves([curve(0, [1, 0.1], axis="epoch")], "a")


def test_shared_quantities_come_first_and_the_rest_is_counted():
    curves = [curve(0, [1, 2], f"q{i}") for i in range(8)] + [curve(1, [1, 2], "q7")]
    drawn = plot_curves(curves, ["a", "b"])
    assert ">q7, log scale<" in drawn
    assert "Quantities that are not drawn: 2." in drawn


@pytest.mark.parametrize("y", [[1.0], [np.nan, 1.0], [np.inf, 2.0], [1e-38, 1e38], [0.0, 0.0]])
def test_any_numbers_can_be_drawn(y):
    assert plot_curves([curve(0, y), curve(1, y)], ["a", "b"]).count("<svg") == 1


def test_without_curves_the_page_says_so():
    assert "No run recorded a curve." in plot_curves([], ["a", "b"])


# JSON


def strict(shown):
    def refuse(name):
        raise AssertionError(name)

    value = json.loads(shown, parse_constant=refuse)
    jsonschema.Draft202012Validator(load_schema("comparison")).validate(value)
    return value


def test_the_schema_is_a_schema():
    jsonschema.Draft202012Validator.check_schema(load_schema("comparison"))


def test_the_json_fits_its_schema_and_lists_what_differs(compared):
    value = strict(render_comparison_json(compared))
    assert [each["verdict"] for each in value["runs"]] == ["does_not_learn", "learns"]
    assert all(row["differs"] for row in value["rows"])
    assert [row["file"] for row in value["code"]] == ["train.py"]
    assert {tuple(row["changes"]) for row in value["findings"]} >= {("gone",)}
    whole = strict(render_comparison_json(compared, everything=True))
    assert len(whole["rows"]) > len(value["rows"])
    assert len(whole["code"]) == 2


def test_hostile_runs_fit_the_schema_too(attacked):
    strict(render_comparison_json(attacked, everything=True))
    killed = dataclasses.replace(case()[1], diagnosis=None)
    strict(render_comparison_json(compare([case()[0], killed, run("c", loss=float("nan"))])))
