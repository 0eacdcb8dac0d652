"""What a terminal shows: verdict first, within its columns, and nothing that moves the cursor."""

from __future__ import annotations

import dataclasses
import io
import re
from pathlib import Path

import numpy as np
import pytest
from rich.cells import cell_len
from rich.console import Console

from saldiag.core.measurement import DtypeTrace
from saldiag_reports.formats.printed.text import print_text, render_text
from saldiag_reports.gallery import runs
from tests.support import hostile_report as hostile


def under(command, data):
    """``data`` as another command would have made it."""
    info = dataclasses.replace(data.info, command=("saldiag", command))
    return dataclasses.replace(data, info=info)


@pytest.mark.parametrize("name", sorted(runs.SAMPLES))
def test_the_text_is_as_in_the_gallery(name):
    golden = (runs.DIRECTORY / f"{name}.txt").read_text(encoding="utf-8")
    assert render_text(runs.SAMPLES[name]()) == golden


def test_the_verdict_is_first_and_the_report_last():
    path = Path("runs") / ("very-long-directory-name-" * 6)
    shown = render_text(runs.broken_run(), path=path).splitlines()
    assert shown[0] == "quicksal-as-reported does not learn"
    assert shown[2].startswith("Root cause  SD101 single-channel-softmax in softmax_output, Convf2")
    assert shown[-1] == f"Report: {path / 'report.html'}"


@pytest.mark.parametrize("command", ["overfit", "gradients", "dtypes", "trainable"])
@pytest.mark.parametrize("width", [40, 80, 120])
def test_no_line_is_wider_than_the_terminal(command, width):
    for build in (*runs.SAMPLES.values(), hostile.hostile):
        shown = render_text(under(command, build()), width=width)
        assert max(cell_len(line) for line in shown.splitlines()) <= width


def test_hostile_text_is_spelt_out_and_is_no_markup():
    for command in ("overfit", "gradients", "dtypes", "trainable"):
        shown = render_text(under(command, hostile.hostile()), path=Path("x\x1b[2Jy"))
        assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", shown)
        assert r"Report: x\x1b[2Jy" in shown
        shown.encode("utf-8")


def test_square_brackets_are_text():
    data = runs.broken_run()
    name = "[bold red]rich[/] [link=x]y[/link]"
    first, *rest = data.diagnosis.findings
    first = dataclasses.replace(first, message=name, fix=name)
    rest[2] = dataclasses.replace(rest[2], message=name)
    diagnosis = dataclasses.replace(data.diagnosis, findings=(first, *rest))
    shown = render_text(dataclasses.replace(data, diagnosis=diagnosis), width=120)
    assert shown.count(name) == 3


def test_many_findings_are_cut_and_counted():
    shown = render_text(hostile.hostile())
    assert "… and 5 more findings in the report" in shown


def test_each_command_shows_its_table():
    data = runs.learning_run()
    assert "inception_5/expand … depthwise_1_bn" in render_text(under("gradients", data))
    assert re.search(r"ReLU +37 +float32 +float32", render_text(under("dtypes", data)))
    assert "Policy mixed_float16; output float32" in render_text(under("dtypes", data))
    trainable = render_text(under("trainable", data))
    assert "346,584 of 524,856 parameters are trainable (66.0%)." in trainable
    headings = next(line for line in trainable.splitlines() if line.startswith("variables"))
    assert headings.split()[1:] == ["n", "declared", "in", "model", "gradient", "changed"]
    assert "|g| first" not in render_text(data)
    for command in ("gradients", "dtypes", "trainable"):  # nothing measured, nothing shown
        assert render_text(under(command, runs.bare_run())) == render_text(runs.bare_run())


def test_a_long_table_is_cut_and_counted():
    data = runs.learning_run()
    trace = data.measured.need(DtypeTrace)
    rows = tuple(dataclasses.replace(trace.rows[0], kind=f"Kind{index}") for index in range(33))
    changed = hostile.with_measurement(data, dataclasses.replace(trace, rows=rows))
    shown = render_text(under("dtypes", changed))
    assert "Kind19" in shown
    assert "Kind20" not in shown
    assert "… and 13 more rows in the report" in shown


def test_gradients_of_no_step_are_dashes():
    data = hostile.with_measurement(runs.bare_run(), hostile.gradients(np.zeros((0, 2))))
    assert re.search(r"b0/l0 +– +–", render_text(under("gradients", data)))  # noqa: RUF001


def test_colour_only_on_a_terminal_and_not_against_no_color(monkeypatch):
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")

    def printed(**options):
        stream = io.StringIO()
        print_text(runs.broken_run(), console=Console(file=stream, width=80, **options))
        return stream.getvalue()

    assert "\x1b[1;31mquicksal-as-reported does not learn" in printed(force_terminal=True)
    assert "\x1b" not in printed()
    monkeypatch.setenv("NO_COLOR", "1")
    assert "31m" not in printed(force_terminal=True)


def test_a_stream_in_ascii_is_no_error(monkeypatch):
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii")
    monkeypatch.setattr("sys.stdout", stream)
    print_text(hostile.hostile())
    assert b"single-channel-softmax" in raw.getvalue()


def test_no_reason_is_said():
    data = runs.bare_run()
    diagnosis = dataclasses.replace(data.diagnosis, verdict="does_not_learn")
    shown = render_text(dataclasses.replace(data, diagnosis=diagnosis))
    assert "No rule found a cause." in shown
