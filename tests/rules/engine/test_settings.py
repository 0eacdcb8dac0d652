"""Rules by settings: on the command line, in a file, on a recorded run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from saldiag.cli.main import main
from saldiag.core.config import RuleSettings
from saldiag.core.files.fingerprints import Fingerprints
from saldiag.core.files.run import Run, RunInfo
from saldiag.core.measurement import Measurements
from saldiag.repair.findings import with_diffs
from saldiag.rules.engine.catalogue import catalogue, matching
from saldiag.rules.engine.engine import diagnose
from saldiag.rules.engine.registry import all_rules
from tests.faults import sd101_single_channel_softmax as softmax
from tests.faults import sd203_exploding_gradients as exploding
from tests.support.command_line import run_python

pytestmark = pytest.mark.usefixtures("here")


def recorded(path: Path, measured: Measurements, **settings) -> Run:
    run = Run.create("overfit", path)
    run.write_info(RunInfo(("saldiag", "overfit"), {}, seed=0, config={}, status="finished"))
    for measurement in measured:
        run.write_measurement(measurement)
    judged = diagnose(measured, verdict="does_not_learn", **settings)
    run.write_diagnosis(*with_diffs([(judged, measured)], Fingerprints()))
    return run


def codes(run: Run) -> list[str]:
    return [finding.rule for finding in run.read_diagnosis().findings]


def test_a_recorded_run_is_judged_again_with_the_same_result(tmp_path: Path, capsys) -> None:
    run = recorded(tmp_path / "run", softmax.broken())
    before = run.read_diagnosis()
    assert main(["report", "run", "--rules"]) == 1
    assert run.read_diagnosis() == before
    assert "SD101" in capsys.readouterr().out


def test_judging_again_needs_no_tensorflow(tmp_path: Path) -> None:
    recorded(tmp_path / "run", softmax.broken())
    code = (
        "import sys; from saldiag.cli.main import main; code = main(['report', 'run', '--rules']);"
        "sys.exit(10 + code + 100 * any(m in sys.modules for m in ('tensorflow', 'keras')))"
    )
    done = run_python(code)
    assert done.returncode == 11, done.stderr


def test_a_threshold_in_the_file_changes_the_outcome(tmp_path: Path) -> None:
    run = recorded(tmp_path / "run", exploding.broken())
    assert codes(run)[0] == "SD203"
    found = run.read_diagnosis().findings[0]
    assert found.evidence["threshold"] == 5
    Path("saldiag.toml").write_text("[thresholds.exploding-gradients]\ndecades = 99\n")
    main(["report", "run", "--rules"])
    assert "SD203" not in codes(run)
    assert run.read_info().config["rules"]["thresholds"] == {"exploding-gradients": {"decades": 99}}
    Path("saldiag.toml").unlink()
    main(["report", "run", "--rules"])
    assert codes(run)[0] == "SD203"
    assert run.read_info().config == {}


def test_the_command_line_overrides_the_file(tmp_path: Path) -> None:
    run = recorded(tmp_path / "run", softmax.broken())
    Path("pyproject.toml").write_text('[tool.saldiag]\nignore = ["SD101"]\n')
    main(["report", "run", "--rules"])
    assert "SD101" not in codes(run)
    main(["report", "run", "--rules", "--ignore", "SD901, constant-output"])
    assert codes(run)[0] == "SD101"
    assert not {"SD901", "SD302"} & set(codes(run))
    assert main(["report", "run", "--rules", "--select", "SD9", "--select", "sd302"]) == 1
    assert set(codes(run)) == {"SD302", "SD901"}


def test_a_killed_run_gets_its_verdict_from_its_overfit_test(tmp_path: Path) -> None:
    run = recorded(tmp_path / "run", softmax.broken())
    run.diagnosis_path.unlink()
    assert main(["report", "run"]) == 2
    assert main(["report", "run", "--rules"]) == 1
    assert run.read_diagnosis().verdict == "does_not_learn"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--rules", "--select", "SD10l"], "no rule 'SD10l'"),
        (["--rules", "--config", "gone.toml"], "gone.toml: No such file"),
        (["--select", "SD1"], "need --rules"),
    ],
)
def test_a_wrong_choice_is_one_line_and_changes_nothing(
    tmp_path: Path, capsys, arguments: list[str], says: str
) -> None:
    run = recorded(tmp_path / "run", softmax.broken())
    before = run.diagnosis_path.read_bytes()
    assert main(["report", "run", *arguments]) == 2
    said = capsys.readouterr().err
    assert says in said
    assert said.count("\n") == 1
    assert run.diagnosis_path.read_bytes() == before


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[thresholds.SD203]\ndecade = 1", "did you mean decades?"),
        ("[thresholds.SD999]\nx = 1", "no rule 'SD999'"),
        ('ignore = ["single-chanel-softmax"]', "did you mean single-channel-softmax?"),
    ],
)
def test_a_command_stops_at_a_wrong_file_before_it_works(capsys, text: str, says: str) -> None:
    Path("saldiag.toml").write_text(text)
    assert main(["rules"]) == 2
    said = capsys.readouterr().err
    assert "saldiag.toml: " in said
    assert says in said


def test_the_list_of_rules(capsys) -> None:
    assert main(["rules", "--format", "json", "--ignore", "SD2"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert [rule["code"] for rule in listed["rules"]] == [rule.code for rule in all_rules()]
    off = {rule["code"] for rule in listed["rules"] if not rule["on"]}
    assert off == {rule.code for rule in all_rules() if rule.code.startswith("SD2")} != set()
    assert main(["rules", "gradients", "ERROR"]) == 0
    assert "exploding-gradients" in (text := capsys.readouterr().out)
    assert "single-channel-softmax" not in text
    assert main(["rules", "nothing-is-called-so"]) == 0
    assert "0 rules" in capsys.readouterr().out


def test_every_rule_is_found_by_each_of_its_words() -> None:
    entries = catalogue(RuleSettings())
    for entry in entries:
        for word in (entry.code, entry.name.upper(), entry.family, entry.severity):
            assert entry in matching(entries, [word])
        assert matching(entries, [entry.code, entry.name]) == (entry,)


def test_the_list_shows_the_thresholds_that_hold() -> None:
    changed = catalogue(RuleSettings(thresholds={"SD203": {"decades": 7.0}}))
    found = {entry.code: entry.thresholds for entry in changed}
    assert found["SD203"]["decades"] == 7
    assert found["SD203"]["growth"] == 1000
