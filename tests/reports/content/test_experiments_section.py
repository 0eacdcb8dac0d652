"""Experiments in every format: the judgement's own numbers, and hostile names that do nothing."""

from __future__ import annotations

import dataclasses
import json
import re
import xml.etree.ElementTree as ET

import jsonschema
import pytest

from saldiag.cli import main
from saldiag.core.files.jsonio import jsonable
from saldiag.core.files.run import Run
from saldiag.core.findings.hypothesis import Hypothesis
from saldiag.core.measurement import Experiments
from saldiag.rules.verdicts.hypotheses import hypotheses
from saldiag_reports import plots
from saldiag_reports.content import tables
from saldiag_reports.formats.html import render_html
from saldiag_reports.formats.notebook import render_snippet
from saldiag_reports.formats.printed.github import render_github
from saldiag_reports.formats.printed.json import load_schema, render_json
from saldiag_reports.formats.printed.junit import render_junit
from saldiag_reports.formats.printed.sarif import render_sarif
from saldiag_reports.formats.printed.text import render_text
from saldiag_reports.formats.printed_run import PrintedRun
from saldiag_reports.gallery import proof, runs
from tests.support import hostile_report as hostile

PROOF = (
    "replacing softmax by sigmoid on Convf2 and softmax_output restores learning (mean absolute"
    " error 0.77 → 0.024 in 42 steps, 3 of 3 seeds)"
)
UNSEEN = r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]"


@pytest.fixture(scope="module")
def data():
    return runs.experiments_run()


def flat(text):
    """Words with one space between, without the second column's indentation."""
    return " ".join(text.split())


def with_hypotheses(data, *found):
    return dataclasses.replace(
        data, diagnosis=dataclasses.replace(data.diagnosis, hypotheses=found)
    )


def test_the_sample_is_what_the_judgement_makes_of_its_curves(data):
    judged = hypotheses(data.measured.need(Experiments))
    assert [h.name for h in judged] == [h.name for h in data.diagnosis.hypotheses]
    for ours, theirs in zip(data.diagnosis.hypotheses, judged, strict=True):
        for field in dataclasses.fields(Hypothesis):
            value, other = getattr(ours, field.name), getattr(theirs, field.name)
            if field.name in ("score", "error", "effect", "interval"):
                assert value == pytest.approx(other, abs=6e-4, nan_ok=True), ours.name
            else:
                assert value == other, ours.name


def test_the_sample_has_every_outcome(data):
    outcomes = {h.outcome for h in data.diagnosis.hypotheses}
    assert outcomes == {"confirmed", "refuted", "no difference", "not applicable", "undecided"}
    assert any(h.parts for h in data.diagnosis.hypotheses)


def test_a_screen_has_the_answer_first_and_the_experiments_after_the_findings(data):
    shown = render_text(data)
    order = ["Replacing softmax by sigmoid", "You suspected", "Root cause", "Also found",
             "Experiments: "]  # fmt: skip
    places = [shown.index(part) for part in order]
    assert places == sorted(places)
    assert f"Proof {PROOF}" in flat(shown)
    assert (
        "refuted there is too much data for the training time a tenth of the data: error 0.77"
        " → 0.77, effect 0.00 [0.00, 0.00], 0 of 3 seeds, 2 steps"
    ) in flat(shown)
    assert "the learning rate is wrong by orders" not in flat(shown)  # it was not tried


def test_a_screen_counts_what_was_not_applicable_and_what_is_too_much(data):
    assert "… and 1 not tested and 1 not applicable in the report" in render_text(data)
    assert "prevents memorising" not in render_text(data)
    many = [dataclasses.replace(data.diagnosis.hypotheses[0], name=str(i)) for i in range(15)]
    shown = render_text(with_hypotheses(data, *many, data.diagnosis.hypotheses[-1]))
    assert "… and 3 more and 1 not applicable in the report" in shown


def test_a_screen_tells_the_score_of_inference_mode(data):
    lag = dataclasses.replace(data.diagnosis.hypotheses[0], mode="inference")
    shown = flat(render_text(with_hypotheses(data, lag)))
    assert "R² in inference mode -3.4 → 0.94, effect 0.94 [0.92, 0.96]" in shown


def test_a_finding_that_explains_nothing_names_what_confirmed_it(data):
    *others, last = data.diagnosis.findings
    last = dataclasses.replace(last, confirmed_by="fitting-output")
    diagnosis = dataclasses.replace(data.diagnosis, findings=(*others, last))
    shown = render_text(dataclasses.replace(data, diagnosis=diagnosis))
    assert "SD901 silenced-warnings, confirmed by fitting-output" in shown


def test_the_page_has_answer_proof_table_and_what_r2_means(data):
    page = render_html(data)
    top = page[: page.index("</header>")]
    assert top.count('<p class="answer">') == 2
    assert "Replacing softmax by sigmoid on Convf2" in top
    assert "“too much &lt;b&gt;data&lt;/b&gt; \\x1b[31m&amp; so on”: refuted" in top
    assert f"<dt>Confirmed by experiment</dt><dd>{PROOF}</dd>" in page
    section = page[page.index('<section id="experiments">') : page.index('<section id="learning">')]
    assert "R² is the share of the targets&#39; variance" in section
    assert section.count("<svg") == 1
    assert section.count("<tr>") == 1 + len(data.diagnosis.hypotheses)
    assert '<table class="sortable">' in section


def test_a_page_without_experiments_says_nothing_of_them():
    page = render_html(runs.learning_run())
    assert 'class="answer"' not in page
    assert 'id="experiments"' not in page


def test_the_table_sorts_by_numbers_and_says_why_nothing_was_changed(data):
    table = tables.hypothesis_table(data.diagnosis.hypotheses)
    titles = [column.title for column in table.columns]
    rows = {row[0]: dict(zip(titles, row, strict=True)) for row in table.rows}
    assert rows["confirmed"]["after"] == 0.0243
    assert rows["confirmed"]["restored"] == "3 of 3"
    assert rows["confirmed"]["interval"] == "[0.92,\N{NO-BREAK SPACE}0.96]"
    assert rows["not applicable"]["what was changed"] == proof.NO_DROPOUT
    assert rows["refuted"]["hypothesis"] == "the loss does not fit the targets"
    suspected = [row[1] for row in table.rows if "suspected by" in row[1]]
    assert any(proof.SUSPICION in cell for cell in suspected)


def drawn(markup):
    """The text of a picture, which has to be strict XML."""
    (svg,) = re.findall(r"<svg.*?</svg>", markup, re.DOTALL)
    return ["".join(element.itertext()) for element in ET.fromstring(svg).iter("text")]


def test_the_picture_names_what_restores_learning_the_control_and_what_differs_most(data):
    found = data.measured.need(Experiments)
    markup = plots.plot_experiments(found, data.diagnosis.hypotheses)
    shown = drawn(markup)
    assert "confirmed: replacing softmax …igmoid on Convf2 and softmax_output" in shown
    assert "refuted: replacing mae by binary cross-entropy" in shown
    assert {"unchanged model", "3 more", "ended: memorised", "ended: no progress"} <= set(shown)
    assert "ended: not finite" not in shown
    assert "42 values below -0.2 are drawn there." in markup
    assert markup == plots.plot_experiments(found, data.diagnosis.hypotheses)
    assert "var(--training)" in markup


def test_the_picture_draws_every_seed(data):
    found = data.measured.need(Experiments)
    (control,) = found.controls
    alone = dataclasses.replace(found, arms=(), controls=(control,))
    two = dataclasses.replace(control, curves=control.curves[:2])
    fewer = dataclasses.replace(alone, controls=(two,))
    three, two = (
        plots.plot_experiments(each).count("stroke-width: 1.4") for each in (alone, fewer)
    )
    assert three == two + 1


def test_the_picture_of_several_proofs_tells_them_apart(data):
    found = data.measured.need(Experiments)
    first = data.diagnosis.hypotheses[0]
    proven = [dataclasses.replace(first, name=arm.name) for arm in found.arms if arm.curves]
    markup = plots.plot_experiments(found, proven)
    assert all(f"var(--{colour})" in markup for colour in ("training", "inference", "good"))
    assert len([text for text in drawn(markup) if text.startswith("confirmed: ")]) == 6


def test_the_picture_marks_inference_mode_and_numbers_that_are_not_finite():
    shown = plots.plot_experiments(hostile.experiments(), hostile.hypotheses())
    texts = drawn(shown)
    assert {"in inference mode", "ended: not finite", "ended: time limit"} <= set(texts)
    assert "not finite and not drawn" in shown
    for strange in (float("nan"), float("inf"), -1e308):
        drawn(plots.plot_experiments(hostile.experiments(strange), hostile.hypotheses()))


def test_nothing_trained_is_no_picture():
    found = Experiments((), (), 8, 120.0)
    assert plots.plot_experiments(found) == '<p class="note">No training was run.</p>'


def test_formats_for_checks_say_what_confirmed_a_finding(data):
    one = PrintedRun(data, ())
    told = f"Confirmed by experiment: {PROOF}"
    (suite,) = ET.fromstring(render_junit([one]))
    (failure,) = [f for f in suite.iter("failure") if "axis of size 1" in f.get("message")]
    assert told in failure.get("message")
    assert told in failure.text
    verdict = next(suite.iter("failure"))
    assert "You suspected “too much <b>data</b>" in verdict.text
    (run,) = json.loads(render_sarif([one]))["runs"]
    first, *others = run["results"]
    assert told in first["message"]["text"]
    assert first["properties"]["confirmedBy"] == "fitting-output"
    assert not any("Confirmed" in other["message"]["text"] for other in others)
    assert render_github([one]).count("%0AConfirmed by experiment: replacing softmax") == 1


def test_a_notebook_shows_answer_and_proof_escaped(data):
    shown = render_snippet(data)
    assert f"<br>Confirmed by experiment: {PROOF}" in shown
    assert "“too much &lt;b&gt;data&lt;/b&gt; \\x1b[31m&amp; so on”" in shown
    assert not re.search(UNSEEN, render_snippet(hostile.hostile()))
    assert "<script>" not in render_snippet(hostile.hostile())


def test_hostile_hypotheses_are_spelt_out_on_a_screen():
    assert not re.search(UNSEEN, render_text(hostile.hostile()))


@pytest.mark.parametrize(
    "spoil",
    [
        lambda told: told.pop("reason"),
        lambda told: told.update(more=1),
        lambda told: told.update(outcome="proven"),
        lambda told: told.update(mode="both"),
        lambda told: told.update(seeds=-1),
        lambda told: told.update(score=[1.0]),
        lambda told: told.update(error=["nan", 1]),
        lambda told: told.update(answers=["X1"]),
    ],
)
def test_the_schema_has_the_exact_keys_of_a_hypothesis(data, spoil):
    value = json.loads(render_json(data))
    validator = jsonschema.Draft202012Validator(load_schema("diagnosis"))
    validator.validate(value)
    known = load_schema("diagnosis")["$defs"]["hypothesis"]
    fields = [field.name for field in dataclasses.fields(Hypothesis)]
    assert fields == list(known["properties"]) == known["required"]
    spoil(value["hypotheses"][0])
    with pytest.raises(jsonschema.ValidationError):
        validator.validate(value)


@pytest.fixture
def recorded(data, tmp_path):
    run = Run.create("overfit", tmp_path / "run")
    run.write_info(data.info)
    run.write_diagnosis(data.diagnosis)
    for measurement in data.measured:
        run.write_measurement(measurement)
    return run


def test_a_recorded_run_tells_all_of_it_again(data, recorded, capsys):
    assert jsonable(recorded.read_diagnosis()) == jsonable(data.diagnosis)
    assert main.main(["report", str(recorded.path)]) == 1
    shown = flat(capsys.readouterr().out)
    assert PROOF[1:] in shown
    assert "You suspected “too much <b>data</b> \\x1b[31m& so on”: refuted" in shown
    page = (recorded.path / "report.html").read_text(encoding="utf-8")
    assert page == render_html(data)


def test_a_run_that_is_judged_again_is_judged_as_before(data, recorded, capsys):
    main.main(["report", str(recorded.path), "--rules", "--format", "json"])
    told = json.loads(capsys.readouterr().out)["hypotheses"]
    assert [h["outcome"] for h in told] == [h.outcome for h in data.diagnosis.hypotheses]


@pytest.mark.tensorflow
def test_from_python_the_answer_is_told_too(data):
    from saldiag.app.api import Diagnosis

    diagnosis = Diagnosis(data.diagnosis, data.measured)
    assert f"Proof {PROOF}" in flat(str(diagnosis))
    assert PROOF in diagnosis._repr_html_()
    assert len(diagnosis.to_frame()) == len(data.diagnosis.findings)
