"""The HTML report: what it says first, what it never does, and what it looks like (golden)."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import re
import shutil
import subprocess

import numpy as np
import pytest

from saldiag.core.findings.diagnosis import Diagnosis
from saldiag.core.findings.finding import Finding
from saldiag.core.measurement import (
    DtypeTrace,
    GradientFlow,
    GradientHistory,
    LayerCall,
    Predictions,
    Wiring,
)
from saldiag_reports.formats.html import render_html
from saldiag_reports.gallery import runs
from tests.support import hostile_report as hostile
from tests.support.html_page import Page


def skeleton(page):
    """A page without what differs between versions of matplotlib and Pillow: the drawings."""
    page = re.sub(r"<svg.*?</svg>", "<svg/>", page, flags=re.DOTALL)
    return re.sub(r"data:image/png;base64,[\w+/=]+", "data:", page)


@pytest.fixture(scope="module", params=sorted(runs.SAMPLES))
def sample(request):
    data = runs.SAMPLES[request.param]()
    return request.param, data, render_html(data)


@pytest.fixture(scope="module")
def hostile_page():
    return render_html(hostile.hostile())


def test_the_page_is_as_in_the_gallery(sample):
    """Everything but the drawings is compared letter by letter; `python -m
    saldiag_reports.gallery.runs` writes the gallery again."""
    name, _, page = sample
    golden = (runs.DIRECTORY / f"{name}.html").read_text(encoding="utf-8")
    assert skeleton(page) == skeleton(golden)
    assert page.count("<svg") == golden.count("<svg")
    assert page.count("data:image/png") == golden.count("data:image/png")


def test_the_page_is_well_formed_and_its_ids_are_unique(sample):
    page = Page(sample[2])
    assert len(page.ids) == len(set(page.ids))
    targets = {value[1:] for tag, key, value in page.attributes if (tag, key) == ("a", "href")}
    assert targets <= set(page.ids)
    labels = [v for _, k, v in page.attributes if k == "aria-labelledby"]
    assert {part for label in labels for part in label.split()} <= set(page.ids)


def test_the_page_refers_to_nothing_outside_itself(sample):
    page = Page(sample[2])
    for tag, key, value in page.attributes:
        if key in ("src", "href", "xlink:href", "action", "data", "poster", "srcset"):
            assert value.startswith(("#", "data:image/png;base64,")), (tag, key, value)
        if key == "style":
            assert "url(" not in re.sub(r"url\(#[^)]+\)", "", value)
    assert not {"link", "iframe", "object", "embed", "base", "form"} & set(page.tags)
    assert "http:" not in sample[2]
    assert "https:" not in sample[2]


def test_only_the_pages_own_script_may_run(sample):
    page = sample[2]
    (script,) = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    (policy,) = (
        value for _, key, value in Page(page).attributes if key == "content" and "src" in value
    )
    assert f"script-src 'sha256-{digest}'" in policy
    assert "default-src 'none'" in policy


def test_the_same_run_gives_the_same_page(sample):
    assert render_html(sample[1]) == sample[2]


def test_verdict_root_cause_and_source_line_are_one_sentence_at_the_top():
    page = render_html(runs.broken_run())
    (top,) = re.findall(r"<h1>(.*?)</h1>", page, re.DOTALL)
    assert " ".join(re.sub(r"<[^>]+>", "", top).split()) == (
        "quicksal-as-reported does not learn because of single-channel-softmax in softmax_output,"
        " Convf2, saldiag/quicksal/as_reported.py:183"
    )


def test_the_chain_leads_from_the_root_to_what_it_explains():
    (chain,) = re.findall(r'<ol class="chain".*?</ol>', render_html(runs.broken_run()), re.DOTALL)
    assert re.findall(r"--depth: (\d)\"><span class=\"rule\">(SD\d+)", chain) == [
        ("0", "SD101"),
        ("1", "SD201"),
        ("1", "SD302"),
    ]


def test_findings_that_explain_each_other_end_the_chain():
    data = runs.broken_run()
    first, second, *rest = data.diagnosis.findings
    first = dataclasses.replace(first, explained_by=second.rule)
    diagnosis = dataclasses.replace(data.diagnosis, findings=(first, second, *rest))
    page = render_html(dataclasses.replace(data, diagnosis=diagnosis))
    (chain,) = re.findall(r'<ol class="chain".*?</ol>', page, re.DOTALL)
    assert chain.count("<li") == 3


def test_what_was_not_measured_says_why():
    text = Page(render_html(runs.bare_run())).text
    assert "Overfit test interrupted before the first step" in text
    assert "Gradients gradients not measured by this command" in text
    assert "Gradient flow interrupted" in text


def test_the_page_tells_how_to_make_it_again():
    page = Page(render_html(runs.bare_run())).text
    assert "saldiag overfit --data 'My Pictures'" in page
    assert "saldiag report ." in page


def test_evidence_shows_value_and_threshold():
    page = Page(render_html(runs.broken_run())).text
    assert "sample variation 0" in page
    assert "threshold 1e-06" in page


def test_no_verdict_without_a_reason():
    data = runs.bare_run()
    diagnosis = dataclasses.replace(data.diagnosis, verdict="does_not_learn")
    assert "No rule found a cause." in render_html(dataclasses.replace(data, diagnosis=diagnosis))


def test_hostile_text_is_shown_and_does_nothing(hostile_page):
    page = Page(hostile_page)
    assert page.tags["script"] == 1
    assert page.tags["style"] == 1
    assert not [key for _, key, _ in page.attributes if key.startswith("on")]
    assert all(
        value.startswith("data:image/png") for tag, key, value in page.attributes if key == "src"
    )
    assert "<script>alert(1)</script>" in page.text
    assert "{{ 7*7 }}" in page.text
    assert "49" not in re.findall(r"<title>(.*?)</title>", hostile_page)[0]
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", hostile_page)
    hostile_page.encode("utf-8")


def test_a_layer_name_with_a_line_break_shows_it(hostile_page):
    assert r"line\nbreak" in Page(hostile_page).text


def big(layers, steps):
    """A sample with many layers, as large models have them."""
    data = runs.learning_run()
    names = [f"stage_{i // 25}/block_{i // 5}/conv_{i}" for i in range(layers)]
    call = data.measured.need(Wiring).calls[0]
    calls = tuple(dataclasses.replace(call, path=name, layer=name) for name in names)
    wiring = dataclasses.replace(data.measured.need(Wiring), calls=calls)
    flow = hostile.flow([(1.0 / (i + 1), 0.5 / (i + 1)) for i in range(layers)])
    flow_rows = tuple(
        dataclasses.replace(row, path=name, layer=name)
        for row, name in zip(flow.rows, names, strict=True)
    )
    norm = np.abs(np.sin(np.arange(steps * layers).reshape(steps, layers))) + 1e-6
    history = hostile.gradients(norm)
    infos = tuple(
        dataclasses.replace(v, path=f"{name}/kernel", layer=name)
        for v, name in zip(history.variables, names, strict=True)
    )
    trace = data.measured.need(DtypeTrace)
    rows = tuple(dataclasses.replace(trace.rows[0], path=name, layer=name) for name in names)
    assert LayerCall in {type(c) for c in calls}
    return hostile.with_measurement(
        data,
        wiring,
        GradientFlow(flow_rows, (), 1.0, True),
        dataclasses.replace(history, variables=infos),
        dataclasses.replace(trace, rows=rows),
    )


@pytest.mark.slow
def test_a_report_of_a_large_model_stays_small():
    page = render_html(big(layers=400, steps=400))
    assert len(page.encode()) < 2_000_000
    assert "400 layers in" in page


def test_a_table_that_is_too_long_says_what_is_left_out(monkeypatch):
    monkeypatch.setattr("saldiag_reports.formats.html.MAX_ROWS", 5)
    data = hostile.with_measurement(runs.bare_run(), hostile.gradients(np.ones((2, 1300))))
    page = render_html(data)
    assert page.count('<td class="name">') == 5
    assert "… and 1,295 more rows in the run" in page


def test_predictions_of_any_value_can_be_shown():
    images = np.full((3, 7, 5, 3), np.nan)
    guessed = np.stack(
        [np.full((7, 5, 1), np.nan), np.full((7, 5, 1), 9.0), np.full((7, 5, 1), -np.inf)]
    )
    guessed[1, 0, 0] = np.inf
    data = hostile.with_measurement(runs.bare_run(), hostile.predictions(images, guessed))
    text = Page(render_html(data)).text
    assert "has no finite value" in text
    assert "9 everywhere, 1 value not finite" in text


def test_only_the_first_predictions_are_shown():
    many = hostile.predictions(np.zeros((20, 4, 4, 3)), np.zeros((20, 4, 4, 1)))
    page = render_html(hostile.with_measurement(runs.bare_run(), many))
    assert page.count("<img") == 12 * 3
    assert "8 more are not shown" in page
    assert isinstance(many, Predictions)


def test_many_layers_of_a_finding_are_counted():
    layers = tuple(f"layer_{i}" for i in range(40))
    finding = Finding("SD301", "dead-relu", "warning", "dead", "fix", layers=layers)
    data = runs.bare_run()
    diagnosis = Diagnosis(data.diagnosis.subject, "learns", None, (finding,))
    text = Page(render_html(dataclasses.replace(data, diagnosis=diagnosis))).text
    assert "layer_11 and 28 more" in text


CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
CLICKS = """
<pre id="result"></pre>
<script>
const table = document.querySelector("#gradients table"), head = table.tHead.rows[0].cells;
const read = column =>
  [...table.tBodies[0].rows].map(row => row.cells[column].textContent).join("|");
const told = [read(0)];
for (const column of [2, 2, 2, 0]) {
  head[column].querySelector("button").click();
  told.push(`${column} ${head[column].getAttribute("aria-sort")} ${read(column)}`);
}
document.getElementById("result").textContent = told.join("\\n");
</script></body>
"""


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine")
def test_a_click_on_a_heading_sorts(tmp_path):
    norm = np.array([[3.0, np.nan, 0.001, 200.0]])
    history = hostile.gradients(norm)
    assert isinstance(history, GradientHistory)
    page = render_html(hostile.with_measurement(runs.bare_run(), history))
    # The policy would rightly stop the test's own script.
    page = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", page)
    path = tmp_path / "page.html"
    path.write_text(page.replace("</body>", CLICKS), encoding="utf-8")
    command = [
        CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking",
        f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom", path.as_uri(),
    ]  # fmt: skip
    ran = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    (told,) = re.findall(r'<pre id="result">(.*?)</pre>', ran.stdout, re.DOTALL)
    assert told.splitlines() == [
        "b0/l0/w|b1/l1/w|b2/l2/w|b3/l3/w",
        "2 ascending 0.001|3|200|–",  # noqa: RUF001
        "2 descending 200|3|0.001|–",  # noqa: RUF001
        "2 null 3|–|0.001|200",  # noqa: RUF001
        "0 ascending b0/l0/w|b1/l1/w|b2/l2/w|b3/l3/w",
    ]
