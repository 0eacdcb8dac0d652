"""``diagnosis.json`` and ``run.json`` keep their contract."""

from __future__ import annotations

import dataclasses
import json
import math

import jsonschema
import pytest

from saldiag.core.files.jsonio import jsonable, restore
from saldiag.core.files.run import Run
from saldiag.core.findings.diagnosis import Diagnosis
from saldiag_reports.content.data import ReportData
from saldiag_reports.formats.printed.json import load_schema, render_json
from saldiag_reports.gallery import runs
from tests.support import hostile_report as hostile

BUILDERS = {**runs.SAMPLES, "hostile": hostile.hostile}


def strict(text):
    """Parse JSON that must not hold NaN or infinity as numbers."""

    def refuse(name):
        raise AssertionError(name)

    return json.loads(text, parse_constant=refuse)


def check(name, value):
    jsonschema.Draft202012Validator(load_schema(name)).validate(value)


@pytest.mark.parametrize("name", ["diagnosis", "run"])
def test_the_schemas_are_schemas(name):
    jsonschema.Draft202012Validator.check_schema(load_schema(name))


@pytest.mark.parametrize("name", sorted(runs.SAMPLES))
def test_the_json_is_as_in_the_gallery(name):
    golden = (runs.DIRECTORY / f"{name}.json").read_text(encoding="utf-8")
    assert render_json(runs.SAMPLES[name]()) == golden


@pytest.mark.parametrize("name", sorted(BUILDERS))
def test_the_json_fits_its_schema(name):
    data = BUILDERS[name]()
    check("diagnosis", strict(render_json(data)))
    check("run", jsonable(data.info))


def test_several_models_are_in_one_document():
    ill, well = runs.broken_run(), runs.SAMPLES["learns"]()
    value = strict(render_json(ill, well))
    check("diagnosis", value)
    models = value.pop("models")
    assert models == [strict(render_json(ill)), strict(render_json(well))]
    assert value == models[0]
    for wrong in ([models[0]], [models[0], {"verdict": "learns"}]):
        with pytest.raises(jsonschema.ValidationError):
            check("diagnosis", {**value, "models": wrong})


def test_the_keys_stand_in_the_order_of_the_contract():
    value = strict(render_json(runs.broken_run()))
    assert list(value) == [
        "schema_version", "subject", "verdict", "verdict_reason", "root_cause", "findings",
        "skipped", "hypotheses", "timings",
    ]  # fmt: skip
    assert list(value["findings"][0]) == [
        "rule", "name", "severity", "confidence", "layers", "message", "fix", "evidence", "source",
        "explained_by", "confirmed_by", "edits", "diff", "by_hand",
    ]  # fmt: skip


@pytest.mark.parametrize("name", sorted(runs.SAMPLES))
def test_the_json_reads_back_as_the_same_diagnosis(name):
    diagnosis = runs.SAMPLES[name]().diagnosis
    back = restore(Diagnosis, strict(render_json(runs.SAMPLES[name]())))
    assert back == diagnosis


def test_every_field_of_the_core_is_in_the_json():
    """A field that is added to the core must not be lost here."""
    data = runs.broken_run()
    value = strict(render_json(data))
    assert value == jsonable(data.diagnosis)


def test_numbers_that_json_has_not_are_strings():
    data = runs.broken_run()
    finding = dataclasses.replace(
        data.diagnosis.findings[0], evidence={"a": math.nan, "b": [math.inf, -math.inf]}
    )
    diagnosis = dataclasses.replace(data.diagnosis, findings=(finding,), timings={"x": math.inf})
    value = strict(render_json(dataclasses.replace(data, diagnosis=diagnosis)))
    assert value["findings"][0]["evidence"] == {"a": "NaN", "b": ["Infinity", "-Infinity"]}
    check("diagnosis", value)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda value: value.pop("root_cause"),
        lambda value: value.update(verdict="maybe"),
        lambda value: value["findings"][0].update(severity="fatal"),
        lambda value: value["findings"][0].update(rule="X1"),
        lambda value: value.update(more=1),
        lambda value: value["findings"][0].pop("explained_by"),
    ],
)
def test_the_schema_refuses_what_is_not_the_contract(spoil):
    value = strict(render_json(runs.broken_run()))
    spoil(value)
    with pytest.raises(jsonschema.ValidationError):
        check("diagnosis", value)


def test_a_run_on_disk_is_drawn_again_from_its_files(tmp_path):
    data = runs.broken_run()
    run = Run.create("overfit", tmp_path / "run")
    run.write_info(data.info)
    run.write_diagnosis(data.diagnosis)
    for measurement in data.measured:
        run.write_measurement(measurement)
    check("run", json.loads((run.path / "run.json").read_text(encoding="utf-8")))
    check("diagnosis", json.loads((run.path / "diagnosis.json").read_text(encoding="utf-8")))
    again = ReportData.of_run(run.path)
    from saldiag_reports.formats.html import render_html

    assert again.command == "overfit"
    assert render_json(again) == render_json(data)
    assert render_html(again) == render_html(data)
